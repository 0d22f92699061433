"""Sums along and over rows as products with a vector, which BLAS does several times faster than `np.add.reduce`, most
of all on short rows. A tile whose rows are contiguous but do not follow one another is a stack of matrices.
"""

from __future__ import annotations

import math

import numpy as np

from ir.kernels.layout import cut
from ir.kernels.native import are_lines, load
from ir.op import Array


def sum_along(x: Array, axes: tuple[int, ...], keepdim: bool, ones: Array, out: Array) -> None:
    """The sum of x along `axes`; `ones` is a temporary vector, as long as `ones_along` says."""
    if len(ones) == 1:
        np.copyto(out, x.reshape(out.shape))
    elif axes == (x.ndim - 1,):
        ones.fill(1)
        dot_along(x, ones, out if keepdim else out[..., None])
    elif axes == tuple(range(len(axes))) and len(axes) < x.ndim:
        sum_over(x, ones, out.squeeze(axes) if keepdim else out)
    elif count := _joined_axes(x, axes):
        names = list(range(x.ndim - count + 1))
        partial = np.einsum(x.reshape(*x.shape[: x.ndim - count], -1), names, names[:-1])
        np.add.reduce(
            partial, axis=tuple(axis for axis in axes if axis < partial.ndim), out=out.reshape(_kept(x, axes))
        )
    else:
        np.add.reduce(x, axis=axes, keepdims=keepdim, out=out)


def _joined_axes(x: Array, axes: tuple[int, ...]) -> int:
    """How many of the axes at the end of x are in `axes` and lie in memory as one."""
    count, step = 0, x.itemsize
    while count < x.ndim and x.ndim - 1 - count in axes and x.strides[x.ndim - 1 - count] == step:
        step *= x.shape[x.ndim - 1 - count]
        count += 1
    return count


def _kept(x: Array, axes: tuple[int, ...]) -> list[int]:
    """The extents of x along other axes than `axes`."""
    return [extent for axis, extent in enumerate(x.shape) if axis not in axes]


def square_sum_along(x: Array, axes: tuple[int, ...], out: Array) -> None:
    """The sum of the squares of x along `axes`, which stay in `out` with extent one.

    Axes that lie in memory as one at its end are inner products of rows with themselves.
    """
    count = _joined_axes(x, axes)
    if not count:
        names = list(range(x.ndim))
        kept = [axis for axis in names if axis not in axes]
        np.einsum(x, names, x, names, kept, out=out.reshape(_kept(x, axes)))
        return
    rows = x.reshape(*x.shape[: x.ndim - count], -1)
    if len(axes) == count:
        dot_rows(rows, rows, out.reshape(*rows.shape[:-1], 1))
        return
    partial = np.matmul(rows[..., None, :], rows[..., None]).reshape(rows.shape[:-1])
    rest = tuple(axis for axis in axes if axis < partial.ndim)
    np.add.reduce(partial, axis=rest, keepdims=True, out=out.reshape(out.shape[: partial.ndim]))


LEAST_ELEMENTS = 1 << 16
"""Elements from which loops over columns are worth being loaded."""
LEAST_COLUMNS = 32
"""Columns side by side from which they are faster than NumPy."""


def extrema_along(x: Array, axes: tuple[int, ...], is_largest: bool, out: Array) -> bool:
    """The largest, or the smallest, elements along axes that follow one another, by loops over columns; False, and
    nothing done, where these do not take the arrays."""
    first, last = min(axes), max(axes)
    if x.size < LEAST_ELEMENTS or last == x.ndim - 1 or len(axes) != last - first + 1 or not x.flags.writeable:
        return False
    columns = math.prod(x.shape[last + 1 :])
    source = x.reshape(math.prod(x.shape[:first]), -1, columns)
    made = out.reshape(len(source), columns)
    are_views = np.may_share_memory(source, x) and np.may_share_memory(made, out)
    is_taken = x.dtype == np.float32 and source.strides[2] == made.strides[1] == 4 and columns >= LEAST_COLUMNS
    loops = load("columns") if are_views and is_taken else None
    if loops is not None:
        loops.extrema(source, is_largest, made)
    return loops is not None


def ones_along(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How long the temporary vector of `sum_along` is."""
    return math.prod(shape[axis] for axis in axes)


def dot_along(x: Array, weights: Array, out: Array) -> None:
    """The inner products of x with the contiguous `weights` over its trailing axes; out keeps them with extent one."""
    lines = _lines(x, weights.ndim, together=out.flags.c_contiguous)
    np.matmul(lines, weights.reshape(-1), out=out.reshape(lines.shape[:-1]))


def dot_rows(a: Array, b: Array, out: Array) -> None:
    """The inner products of the rows of a with those of b along the last axis; out keeps it with extent one."""
    np.matmul(a[..., None, :], b[..., None], out=out[..., None])


def sum_over(x: Array, ones: Array, out: Array) -> None:
    """The sum of x over the leading axes that `out` lacks; `ones` is a temporary vector of as many elements."""
    lines = _lines(x, out.ndim, together=True)
    ones.fill(1)
    if lines.ndim == 2 and out.flags.c_contiguous:
        np.matmul(ones[: len(lines)], lines, out=out.reshape(-1))
    else:
        sums = np.matmul(ones[: lines.shape[-2]], lines)
        total = np.add.reduce(sums.reshape(-1, sums.shape[-1]), axis=0)
        np.copyto(out, total.reshape(out.shape))


def outer_sum(first: Array | float, second: Array | float, vectors: Array, pairs: Array, out: Array) -> None:
    """first * vectors[0] + second * vectors[1] for every row of `out`, from one number each per row.

    As a matrix product it takes half the time of NumPy's loops over short rows. `pairs` is a temporary array with two
    numbers per row.
    """
    count = out.size // vectors.shape[1]
    for column, numbers in enumerate((first, second)):
        pairs[:count, column] = numbers.reshape(-1) if isinstance(numbers, np.ndarray) else numbers
    np.matmul(pairs[:count], vectors, out=out.reshape(count, -1))


def _lines(x: Array, axes: int, together: bool) -> Array:
    """x with its last `axes` axes as one; and all others too where they follow one another and `together` is wanted."""
    length = math.prod(x.shape[x.ndim - axes :])
    lead = (math.prod(x.shape[: x.ndim - axes]),) if together and x.flags.c_contiguous else x.shape[: x.ndim - axes]
    lines: Array = x.reshape(*lead, length)
    return lines


def contiguous_rows(x: Array, length: int, copy: Array) -> Array:
    """x as contiguous rows [rows, length]: itself where it lies so, else in `copy`, a temporary block of rows."""
    if are_lines(x):
        itself: Array = x.reshape(-1, length)
        return itself
    made = cut(copy, x.size // length, length)
    loops, axis = load("rows"), _axis_of_columns(x)
    if loops is None or axis is None or x.shape[-1] != length or x.dtype != np.float32 or not x.flags.writeable:
        np.copyto(made.reshape(x.shape), x)
        return made
    count = math.prod(x.shape[axis:-1])
    for number, index in enumerate(np.ndindex(x.shape[:axis])):
        columns = x[index].reshape(count, length)
        loops.turn(columns, made[number * count :].ctypes.data)
    return made


def _axis_of_columns(x: Array) -> int | None:
    """The first axis from which all but the last follow one another in memory, so that x is columns; None if none."""
    axis, step = x.ndim - 1, x.itemsize
    while axis > 0 and x.strides[axis - 1] == step:
        axis -= 1
        step *= x.shape[axis]
    return axis if axis < x.ndim - 1 else None
