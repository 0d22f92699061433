"""Working on arrays block by block, so that what one pass over a block leaves in cache the next one finds there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ir.kernels.layout import cut
from ir.op import Array
from ir.types import TensorType

BLOCK_ELEMENTS = 1 << 16
"""Elements of a block of one array, 256 KiB: an operand, a result and a temporary fit a core's second-level cache."""


ROW_BLOCK_ELEMENTS = 1 << 17
"""The same for kernels that go over whole rows, with as many small calls per block as large ones."""

ROW_SLACK = 16
"""Elements behind a block of rows."""


def block_of(x: TensorType) -> TensorType:
    """The type of a temporary array for blocks of x."""
    return x.with_shape((min(x.numel, BLOCK_ELEMENTS),))


def blocks(arrays: Sequence[Array], temporaries: Sequence[Array]) -> Iterator[list[Array]]:
    """Operands and their result, which is the last array, block by block: with the temporary arrays of that shape.

    Operands broadcast to the result. Blocks follow the order of the result in memory.
    """
    if all(array.flags.c_contiguous and array.shape == arrays[-1].shape for array in arrays):
        ordered = [array.reshape(-1) for array in arrays]
    else:
        result = arrays[-1]
        order = sorted(range(result.ndim), key=lambda axis: -abs(result.strides[axis]))
        ordered = [np.broadcast_to(array, result.shape).transpose(order) for array in arrays[:-1]]
        ordered.append(result.transpose(order))
    for block in _pieces(ordered, BLOCK_ELEMENTS):
        yield block + [cut(temporary, *block[-1].shape) for temporary in temporaries]


def row_block_of(x: TensorType, axes: int) -> TensorType:
    """The type of a temporary array for blocks of rows of x, its last `axes` axes; loops may write `ROW_SLACK`
    elements beyond a block."""
    return x.with_shape((max(math.prod(x.shape[x.rank - axes :]), min(x.numel, ROW_BLOCK_ELEMENTS)) + ROW_SLACK,))


def row_blocks(axes: int, arrays: Sequence[Array], temporaries: Sequence[Array]) -> Iterator[list[Array]]:
    """Arrays with equal leading axes, by blocks of whole rows of the first one, which are its last `axes` axes: with
    the temporary arrays of its shape. None where it is empty."""
    if not arrays[0].size:
        return
    for block in _pieces(list(arrays), ROW_BLOCK_ELEMENTS, axes):
        yield block + [cut(temporary, *block[0].shape) for temporary in temporaries]


def _pieces(arrays: list[Array], most: int, whole: int = 0) -> Iterator[list[Array]]:
    """Arrays in pieces of which the first has at most `most` elements, cut along axes before the last `whole` ones."""
    first = arrays[0]
    extent = len(first) if first.ndim > whole else 1
    if first.ndim == whole or first.size <= most:
        yield arrays
    elif first.ndim > whole + 1 and first.size // extent > most:
        for index in range(extent):
            yield from _pieces([array[index] for array in arrays], most, whole)
    else:
        step = max(1, most // (first.size // extent))
        for start in range(0, extent, step):
            yield [array[start : start + step] for array in arrays]
