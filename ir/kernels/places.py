"""Where in memory the elements are that an index names along one axis: for gathers and scatters."""

from __future__ import annotations

import math

import numpy as np

from ir.errors import IndexOutsideError, Problem
from ir.kernels.native import load
from ir.op import Array
from ir.types import DType, TensorType


def is_inside(index: Array, extent: int) -> bool:
    """Whether every index of an i32 array lies in 0 .. extent - 1."""
    # As an unsigned number, a negative one is larger than any extent: one pass finds both.
    return bool(np.maximum.reduce(index.view(np.uint32), axis=None, initial=0) < extent)


def check_index(index: Array, extent: int) -> None:
    """Raise IndexOutsideError where an index of an i32 array lies outside 0 .. extent - 1."""
    if index.size and not is_inside(index, extent):
        outside = index[(index < 0) | (index >= extent)].flat[0]
        hint = "labels must be below the number of classes, indices below the number of rows of their table"
        raise IndexOutsideError(Problem(f"index {outside} is outside 0 .. {extent - 1}", hint=hint))


def wrap_index(index: Array, extent: int, out: Array) -> None:
    """The indices of an i32 array with negative ones counted from the end. Raises IndexOutsideError where one is then
    outside 0 .. extent - 1."""
    rows = [array.reshape(-1, array.shape[-1] if array.ndim else 1) if array.size else array for array in (index, out)]
    are_views = all(map(np.may_share_memory, rows, (index, out))) and index.flags.writeable
    loops = load("indexing") if are_views and index.size >= LEAST_INDICES else None
    if loops is None:
        np.add(index, np.less(index, 0) * np.int32(extent), out=out)
    elif loops.wrap(*rows, extent):
        return
    check_index(np.ascontiguousarray(out), extent)


LEAST_INDICES = 4096
"""From so many indices on, the loops are worth loading."""


def words(index: TensorType) -> TensorType:
    """A temporary array for a 64-bit integer per element of the index, which is what NumPy takes without converting."""
    return TensorType(DType.I32, (2 * index.numel,))


def places(index: Array, shape: tuple[int, ...], dim: int, scratch: Array) -> Array:
    """For each element of the index, the place in a contiguous array of `shape` of the element [i, ..., index, ..., j]
    in row-major order; in `scratch`, as `words` says. Raises IndexOutsideError where one lies outside."""
    check_index(index, shape[dim])
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    found: Array = scratch.view(np.int64).reshape(index.shape)
    np.multiply(index, np.int64(strides[dim]), out=found)
    others = [axis for axis in range(len(shape)) if axis != dim]
    along = np.ogrid[tuple(slice(1 if axis == dim else extent) for axis, extent in enumerate(index.shape))]
    np.add(found, sum((along[axis] * strides[axis] for axis in others), np.zeros((), np.int64)), out=found)
    return found


def whole_rows(index: Array, shape: tuple[int, ...], dim: int) -> Array | None:
    """The index along `dim` alone, where it is the same in every place along all other axes and those are covered: then
    whole slices are read or written. None where it is not. Raises IndexOutsideError as `places` does."""
    if index.size == 0 or any(i != extent for axis, (i, extent) in enumerate(zip(index.shape, shape)) if axis != dim):
        return None
    first = index[tuple(slice(None) if axis == dim else slice(1) for axis in range(index.ndim))]
    last = index[tuple(slice(None) if axis == dim else slice(-1, None) for axis in range(index.ndim))]
    if not (np.array_equal(first, last) and (index == first).all()):
        return None
    check_index(first, shape[dim])
    rows: Array = first.reshape(-1)
    return rows


BY_ELEMENT = frozenset({"gather", "scatter", "scatter_add"})
"""Loops that take an index of its own for every element."""

IN_PARTS = frozenset({"take", "add"})
"""Loops that can also take all parts along the first axis at once."""


def run_loop(name: str, dim: int, x: Array, index: Array, out: Array, along: tuple[int, int]) -> bool:
    """Run a compiled loop (`ir/kernels/native/indexing.py`) along the axis `dim`, for which x has as many axes as
    `along` says, and then out. The index has one axis, or for a loop of `BY_ELEMENT` those of x. False, and
    nothing done, where no loop takes them."""
    loops = load("indexing")
    kinds = x.dtype == out.dtype == np.float32 and index.dtype == np.int32
    if loops is None or not kinds or not (x.size and index.size and out.size and index.flags.writeable):
        return False
    if dim and name in IN_PARTS:
        arrays = [_parts(array, dim, count) for array, count in zip((x, out), along)]
        if all(array is not None and array.flags.writeable for array in arrays):
            getattr(loops, f"{name}_parts")(arrays[0], index, arrays[1])
            return True
    for lead in range(dim + 1):
        first = (0,) * lead
        arrays = [_three_axes(array[first], dim - lead, count) for array, count in zip((x, out), along)]
        if all(array is not None and array.flags.writeable for array in arrays):
            for part in np.ndindex(x.shape[:lead]):
                given = _three_axes(index[part], dim - lead, 1) if name in BY_ELEMENT else index
                source, target = (_three_axes(array[part], dim - lead, count) for array, count in zip((x, out), along))
                getattr(loops, name)(source, given, target)
            return True
    return False


def _parts(array: Array, dim: int, count: int) -> Array | None:
    """`_three_axes` of every part along the first axis."""
    shape = array.shape[1:dim], array.shape[dim : dim + count], array.shape[dim + count :]
    view = array.reshape(len(array), *map(math.prod, shape))
    return view if np.may_share_memory(view, array) else None


def _three_axes(array: Array, dim: int, count: int) -> Array | None:
    """The array with the axes before `dim` as one, `count` from there on as one, and those behind as one; None where
    that is no view of it."""
    lead, along, rest = array.shape[:dim], array.shape[dim : dim + count], array.shape[dim + count :]
    view = array.reshape(math.prod(lead), math.prod(along), math.prod(rest))
    return view if np.may_share_memory(view, array) else None
