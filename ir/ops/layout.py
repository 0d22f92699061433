"""Contiguous results, for kernels that go through memory in order."""

from __future__ import annotations

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
