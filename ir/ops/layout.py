"""Arrays as kernels want them in memory: contiguous results, and the part of a scratch array that is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ir.op import Array


@contextmanager
def in_order(*results: Array) -> Iterator[list[Array]]:
    """The results, or where they are not contiguous, arrays like them that are copied into them in the end."""
    made = [result if result.flags.c_contiguous else np.empty(result.shape, result.dtype) for result in results]
    yield made
    for result, array in zip(results, made):
        if array is not result:
            np.copyto(result, array)


def cut(scratch: Array, *shape: int) -> Array:
    """The beginning of a scratch array, as an array of this shape: the last block may be smaller."""
    return scratch.reshape(-1)[: math.prod(shape)].reshape(shape)
