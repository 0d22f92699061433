"""Arrays as kernels want them in memory: contiguous results, parts of scratch arrays, copies between layouts."""

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


SHORT = 8
"""Copying rows shorter than this costs more for each row than for its elements."""


def copy(out: Array, x: Array) -> None:
    """np.copyto; column by column where rows are short and do not follow one another in x, as in a repeated element."""
    if x.ndim > 1 and 1 < x.shape[-1] < SHORT and x.strides[-2] != x.shape[-1] * x.strides[-1]:
        for column in range(x.shape[-1]):
            np.copyto(out[..., column], x[..., column])
    else:
        np.copyto(out, x)
