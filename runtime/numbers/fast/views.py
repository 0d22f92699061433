"""Free operators on arrays: views where the layout allows it, and their inverses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ir.kernels.layout import copy
from ir.op import Array, Op
from ir.ops.view import Permute, Reshape
from ir.rounding import round_to_bf16
from ir.types import DType, TensorType


def inverse_view(op: Op, operand_shape: Sequence[int], result: Array) -> Array | None:
    """The array of `operand_shape` of which `op` makes `result` as a view; None where there is none.

    Whatever is written into it thereby stands in `result`.
    """
    if isinstance(op, Permute):
        return result.transpose(np.argsort(op.dims)) if op.dims else result
    if isinstance(op, Reshape):
        source: Array = result.reshape(tuple(operand_shape))
        return source if np.may_share_memory(source, result) else None
    return None


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


def copy_reshaped(operand: Array, result: Array) -> None:
    """Fill contiguous `result` with the elements of `operand` in row-major order, without a temporary."""
    copy(result.reshape(operand.shape), operand)


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
