"""Free operators on arrays: constants, and what a view is of."""

from __future__ import annotations

import numpy as np

from ir.op import Array, Op
from ir.rounding import round_to_bf16
from ir.types import DType, TensorType


def constant(op: Op, tensor: TensorType) -> Array:
    """The value of a free operator without operands, made once."""
    array: Array = op.view()  # type: ignore[attr-defined]
    if tensor.dtype is not DType.BF16:
        return array
    if array.size and not any(array.strides):
        scalar = np.array(array[(0,) * array.ndim])
        round_to_bf16(scalar)
        return np.broadcast_to(scalar, array.shape)
    rounded = np.array(array)
    round_to_bf16(rounded)
    return rounded


def same_view(first: Array, second: Array) -> bool:
    """Whether both arrays are the same elements in the same order."""
    return (
        first.__array_interface__["data"] == second.__array_interface__["data"]
        and first.shape == second.shape
        and first.strides == second.strides
    )


def cut(array: Array, axis: int, start: int, count: int, tiles: int) -> Array:
    """Tiles `start` to `start + count` of `tiles` along `axis`; all of the array where axis is negative."""
    if axis < 0:
        return array
    extent = array.shape[axis] // tiles
    index = [slice(None)] * array.ndim
    index[axis] = slice(start * extent, (start + count) * extent)
    view: Array = array[tuple(index)]
    return view
