"""Sums along and over rows as products with a vector, which BLAS does several times faster than `np.add.reduce`, most
of all on short rows. Layouts that do not allow it take the slower way.
"""

from __future__ import annotations

import math

import numpy as np

from ir.op import Array


def sum_along(x: Array, axes: tuple[int, ...], keepdim: bool, ones: Array, out: Array) -> None:
    """The sum of x along `axes`; `ones` is a temporary vector as long as the last of them."""
    if axes == (x.ndim - 1,) and x.flags.c_contiguous and out.flags.c_contiguous:
        ones.fill(1)
        np.dot(x.reshape(-1, ones.size), ones, out=out.reshape(-1))
    else:
        np.add.reduce(x, axis=axes, keepdims=keepdim, out=out)


def dot_along(x: Array, weights: Array, out: Array) -> None:
    """The inner products of x with the contiguous `weights` over its trailing axes, kept with extent one."""
    if x.flags.c_contiguous and out.flags.c_contiguous:
        np.dot(x.reshape(-1, weights.size), weights.reshape(-1), out=out.reshape(-1))
    else:
        row = "abcdefgh"[: weights.ndim]
        without_row = np.squeeze(out, tuple(range(-weights.ndim, 0)))
        np.einsum(f"...{row},{row}->...", x, weights, out=without_row)


def sum_over(x: Array, ones: Array, out: Array) -> None:
    """The sum of x over the leading axes that `out` lacks; `ones` is a temporary vector of as many elements."""
    if x.flags.c_contiguous and out.flags.c_contiguous:
        ones.fill(1)
        np.dot(ones, x.reshape(-1, math.prod(out.shape)), out=out.reshape(-1))
    else:
        np.add.reduce(x, axis=tuple(range(x.ndim - out.ndim)), out=out)
