"""Working on arrays block by block, so that what one pass over a block leaves in cache the next one finds there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ir.op import Array
from ir.ops.layout import cut
from ir.types import TensorType

BLOCK_ELEMENTS = 1 << 16
"""Elements of a block of one array, 256 KiB: an operand, a result and a temporary fit a core's second-level cache."""


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
    for block in _pieces(ordered):
        yield block + [cut(temporary, *block[-1].shape) for temporary in temporaries]


def _pieces(arrays: list[Array]) -> Iterator[list[Array]]:
    """Arrays of one shape in pieces of at most a block, cut along leading axes."""
    size, extent = arrays[0].size, len(arrays[0]) if arrays[0].ndim else 1
    if size <= BLOCK_ELEMENTS:
        yield arrays
    elif size // extent > BLOCK_ELEMENTS:
        for index in range(extent):
            yield from _pieces([array[index] for array in arrays])
    else:
        step = BLOCK_ELEMENTS // (size // extent)
        for start in range(0, extent, step):
            yield [array[start : start + step] for array in arrays]
