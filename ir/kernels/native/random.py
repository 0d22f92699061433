"""The Squares generator (`ir/ops/random.py`) in one pass; NumPy takes 22."""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled, inlined
from ir.op import Array

HALF, LEFT = np.uint64(32), np.uint64(40)


@inlined
def _exchanged(x: np.uint64) -> np.uint64:
    """The two halves of a word in each other's place."""
    return (x >> HALF) | (x << HALF)  # type: ignore[no-any-return]


@inlined
def _drawn(counter: np.uint64, key: np.uint64) -> np.uint64:
    """24 random bits for a counter."""
    first = counter * key
    other = first + key
    state = _exchanged(first * first + first)
    state = _exchanged(state * state + other)
    state = _exchanged(state * state + first)
    return (state * state + other) >> LEFT  # type: ignore[no-any-return]


@compiled("void(uint64[::1], uint64[::1], uint64, uint32[:,::1])")
def draw(outer: Array, inner: Array, key: np.uint64, out: Array) -> None:
    """24 random bits for each counter `outer[row] + inner[column]`."""
    for row in range(len(outer)):
        for column in range(len(inner)):
            out[row, column] = _drawn(outer[row] + inner[column], key)


@compiled("void(uint64[::1], uint64[::1], uint64, uint64, boolean[:,::1])")
def keep(outer: Array, inner: Array, key: np.uint64, least: np.uint64, out: Array) -> None:
    """Whether the bits for each counter, as a number, are at least so large."""
    for row in range(len(outer)):
        for column in range(len(inner)):
            out[row, column] = _drawn(outer[row] + inner[column], key) >= least
