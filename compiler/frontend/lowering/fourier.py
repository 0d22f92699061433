"""Fourier transforms, as products with matrices of cosines and sines, one axis after the other.

A long axis whose length is a product m n is transformed in two steps: n transforms of m numbers each, a rotation of
every number, and m transforms of n numbers.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from compiler.frontend.lowering.complex_numbers import Pair, lowers_complex, matmul, times
from compiler.frontend.lowering.context import Context
from ir.graph import Value

aten = torch.ops.aten
LONG = 128
"""An axis up to this long is transformed by one product."""

BY_ROOT, BY_NUMBER = 1, 2
"""How ATen numbers the ways to scale a transform: by 1/sqrt(n) or 1/n, n being the number of elements; 0 is neither."""


@lowers_complex(aten._fft_c2c.default)
def fft_c2c(context: Context, x: Pair, dims: list[int], normalization: int, forward: bool) -> Pair:
    for dim in dims:
        x = _along(context, x, dim, forward)
    return _scaled(context, x, _scale(normalization, [x.re.type.shape[dim] for dim in dims]))


@lowers_complex(aten._fft_r2c.default)
def fft_r2c(context: Context, x: Value, dims: list[int], normalization: int, onesided: bool) -> Pair:
    """The last of the axes first: of real numbers, half of it says all."""
    scale = _scale(normalization, [x.type.shape[dim] for dim in dims])
    last = dims[-1] % x.type.rank
    extent = x.type.shape[last]
    kept = extent // 2 + 1 if onesided else extent
    made = _half(_along(context, Pair(x, _zeros(context, x)), last, True), context, last, kept) if extent > LONG else (
        _real_along(context, x, last, kept)
    )  # fmt: skip
    for dim in dims[:-1]:
        made = _along(context, made, dim, True)
    return _scaled(context, made, scale)


@lowers_complex(aten._fft_c2r.default)
def fft_c2r(context: Context, x: Pair, dims: list[int], normalization: int, length: int) -> Value:
    """The real numbers of which x is half of the transform along the last of the axes."""
    rank = x.re.type.rank
    for dim in dims[:-1]:
        x = _along(context, x, dim, False)
    last = dims[-1] % rank
    made = _to_real_along(context, x, last, length)
    extents = [length if dim % rank == last else x.re.type.shape[dim] for dim in dims]
    return context.scaled(made, _scale(normalization, extents))


def _scale(normalization: int, extents: list[int]) -> float:
    count = math.prod(extents)
    return {BY_ROOT: 1 / math.sqrt(count), BY_NUMBER: 1 / count}.get(normalization, 1.0)


def _scaled(context: Context, x: Pair, scale: float) -> Pair:
    return Pair(context.scaled(x.re, scale), context.scaled(x.im, scale))


def _zeros(context: Context, x: Value) -> Value:
    return context.full(x.type.shape, 0, x.type.dtype)


def _half(x: Pair, context: Context, dim: int, kept: int) -> Pair:
    return Pair(context.slice(x.re, dim, 0, kept), context.slice(x.im, dim, 0, kept))


def _along(context: Context, x: Pair, dim: int, forward: bool) -> Pair:
    """The transform along one axis, as rows of a matrix."""
    rank = x.re.type.rank
    order = _with_last(rank, dim % rank)
    moved = [context.permute(part, order) for part in (x.re, x.im)]
    shape = moved[0].type.shape
    rows = Pair(*(context.reshape(part, (math.prod(shape[:-1]), shape[-1])) for part in moved))
    made = _of_rows(context, rows, -1 if forward else 1)
    back = tuple(order.index(axis) for axis in range(rank))
    return Pair(*(context.permute(context.reshape(part, shape), back) for part in (made.re, made.im)))


def _with_last(rank: int, dim: int) -> tuple[int, ...]:
    """The axes with one of them last."""
    return (*(axis for axis in range(rank) if axis != dim), dim)


def _of_rows(context: Context, x: Pair, sign: int) -> Pair:
    """sum over t of x[r, t] exp(sign 2 pi i k t / n), for rows [r, n]."""
    rows, extent = x.re.type.shape
    first = _factor(extent)
    if extent <= LONG or first == 1:
        return matmul(context, x, _matrix(context, extent, sign))  # type: ignore[return-value]
    second = extent // first
    # t = second t1 + t2 and k = k1 + first k2: over t1 into k1, rotate by k1 t2, over t2 into k2.
    apart = _reshaped(context, x, (rows, first, second))
    turned = _reshaped(context, _permuted(context, apart, (0, 2, 1)), (rows * second, first))
    inner = _reshaped(context, _of_rows(context, turned, sign), (rows, second, first))
    rotated = times(context, inner, _rotation(context, second, first, sign))
    outer = _reshaped(context, _permuted(context, rotated, (0, 2, 1)), (rows * first, second))
    made = _reshaped(context, _of_rows(context, outer, sign), (rows, first, second))
    return _reshaped(context, _permuted(context, made, (0, 2, 1)), (rows, extent))


def _factor(extent: int) -> int:
    """The divisor nearest to the square root, from below."""
    return next(number for number in range(math.isqrt(extent), 0, -1) if extent % number == 0)


def _reshaped(context: Context, x: Pair, shape: tuple[int, ...]) -> Pair:
    return Pair(context.reshape(x.re, shape), context.reshape(x.im, shape))


def _permuted(context: Context, x: Pair, dims: tuple[int, ...]) -> Pair:
    return Pair(context.permute(x.re, dims), context.permute(x.im, dims))


def _matrix(context: Context, extent: int, sign: int) -> Pair:
    return _turns(context, np.outer(np.arange(extent), np.arange(extent)) % extent / extent, sign)


def _rotation(context: Context, second: int, first: int, sign: int) -> Pair:
    return _turns(context, np.outer(np.arange(second), np.arange(first)) / (first * second), sign)


def _turns(context: Context, turns: np.ndarray[tuple[int, ...], np.dtype[np.float64]], sign: int) -> Pair:
    """Cosine and signed sine of so many full turns."""
    angle = 2 * math.pi * turns
    re, im = np.cos(angle).astype(np.float32), (sign * np.sin(angle)).astype(np.float32)
    return Pair(context.constant(re, "constant.cosines"), context.constant(im, "constant.sines"))


def _real_along(context: Context, x: Value, dim: int, kept: int) -> Pair:
    """The first `kept` numbers of the transform of real ones, by two products."""
    extent = x.type.shape[dim]
    turns = np.outer(np.arange(extent), np.arange(kept)) % extent / extent
    table = _turns(context, turns, -1)
    return Pair(*(_by_matrix(context, x, dim, part) for part in (table.re, table.im)))


def _by_matrix(context: Context, x: Value, dim: int, matrix: Value) -> Value:
    """The product with a matrix along one axis."""
    order = _with_last(x.type.rank, dim)
    moved = context.permute(x, order)
    shape = moved.type.shape
    rows = context.reshape(moved, (math.prod(shape[:-1]), shape[-1]))
    made = context.emit("matmul", rows, matrix, dtype=x.type.dtype)
    made = context.reshape(made, (*shape[:-1], matrix.type.shape[1]))
    return context.permute(made, tuple(order.index(axis) for axis in range(x.type.rank)))


def _to_real_along(context: Context, x: Pair, dim: int, length: int) -> Value:
    """x[0] + 2 sum of x[k] exp(2 pi i k t / n) up to the middle, which counts once; its real part, by two products.

    Of a long axis the other half is filled in, the conjugate of this one backwards, and all of it transformed.
    """
    half = length // 2 + 1
    x = _half(x, context, dim, half)
    if length <= LONG:
        turns = np.outer(np.arange(half), np.arange(length)) % length / length
        angle = 2 * math.pi * turns
        counts = np.full((half, 1), 2.0)
        counts[0] = 1
        counts[-1] = 1 if length % 2 == 0 else counts[-1]
        cosines = context.constant((counts * np.cos(angle)).astype(np.float32), "constant.cosines")
        sines = context.constant((counts * np.sin(angle)).astype(np.float32), "constant.sines")
        return context.emit("sub", _by_matrix(context, x.re, dim, cosines), _by_matrix(context, x.im, dim, sines))
    rest = length - half
    re = [context.emit("flip", context.slice(part, dim, 1, 1 + rest), dims=(dim,)) for part in (x.re, x.im)]
    whole_re = context.cat([x.re, re[0]], dim)
    # The transform's first number, and its middle one, are real: what stands in their imaginary parts does not count.
    whole_im = context.cat([x.im, context.emit("neg", re[1])], dim)
    return _along(context, Pair(whole_re, _without_ends(context, whole_im, dim, length)), dim, False).re


def _without_ends(context: Context, im: Value, dim: int, length: int) -> Value:
    """The imaginary parts, zero at the first number and at the middle one of an even length."""
    keep = np.ones(length, np.float32)
    keep[0] = 0
    if length % 2 == 0:
        keep[length // 2] = 0
    shape = [1] * im.type.rank
    shape[dim] = length
    return context.emit("mul", im, context.constant(keep.reshape(shape), "constant.ends"))
