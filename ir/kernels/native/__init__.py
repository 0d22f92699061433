"""Loops that NumPy could only express in many passes, compiled by numba at their first use and kept on disk.

They are imported when first needed, because numba takes longer to import than a small model to run. NumPy's way
to do the same is always there: without numba, or with `SNC_NATIVE=0` in the environment, it does everything.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType

import numpy as np

from ir.op import Array

log = logging.getLogger(__name__)


@cache
def load(name: str) -> ModuleType | None:
    """The module of compiled loops of this name; None where numba is missing or switched off."""
    if os.environ.get("SNC_NATIVE") == "0":
        return None
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        log.info("NumPy computes %s: its compiled loops cannot be imported: %s", name, error)
    except RuntimeError as error:  # numba finds no folder that it may write to
        log.warning(
            "NumPy computes %s: its compiled loops cannot be kept (%s); set NUMBA_CACHE_DIR to a folder that can be "
            "written to",
            name,
            error,
        )
    return None


def owned(array: Array) -> Array:
    """The array, or a copy where it is read-only (a broadcast constant), which compiled loops do not take."""
    return array if array.flags.writeable and array.flags.aligned else np.array(array)


def apply(function: Callable[..., None], operands: Sequence[Array], out: Array, copies: Sequence[Array]) -> None:
    """An elementwise loop over arrays of one shape; what is not contiguous goes through a copy, in `copies`."""
    given = [_line(operand, copy) for operand, copy in zip(operands, copies)]
    if out.flags.c_contiguous:
        function(*given, out.reshape(-1))
        return
    made = copies[len(operands)]
    function(*given, made.reshape(-1))
    np.copyto(out, made)


def _line(array: Array, copy: Array) -> Array:
    """The elements of an array one after another."""
    if array.flags.c_contiguous and array.flags.writeable and array.flags.aligned:
        return array.reshape(-1)
    np.copyto(copy, array)
    return copy.reshape(-1)


def are_lines(*arrays: Array) -> bool:
    """Whether compiled loops take these arrays as they are: contiguous float32 with elements, and not read-only."""
    return all(
        array.dtype == np.float32 and array.size and array.flags.carray and array.flags.aligned for array in arrays
    )


LEAST_LINES = 1024
"""Elements that a call of a loop over rows should have: it takes about as long to begin."""


def line_parts(axes: int, *arrays: Array) -> list[tuple[int, ...]]:
    """Indices of leading axes, which the arrays have in common, of parts that loops over rows, their last `axes` axes,
    take as they are: see `are_lines`. None where there are none, or they are too small."""
    shape = arrays[0].shape
    for count in range(len(shape) - axes + 1):
        if not all(shape[:count]):
            break
        if are_lines(*(array[(0,) * count] for array in arrays)):
            small = count and arrays[0][(0,) * count].size < LEAST_LINES
            return [] if small else list(np.ndindex(shape[:count]))
    return []


def line_places(parts: Sequence[tuple[int, ...]], *arrays: Array) -> Array:
    """The addresses of parts of arrays: a row for every array."""
    steps = np.array(parts, np.int64)
    places = np.empty((len(arrays), len(parts)), np.int64)
    for row, array in zip(places, arrays):
        row[:] = array.ctypes.data + steps @ np.array(array.strides[: steps.shape[1]], np.int64)
    return places


def as_columns(dim: int, *arrays: Array) -> list[Array] | None:
    """The arrays with the axes before `dim` and those behind it as one each; None where these are no views that loops
    over columns take: of float32, with neighbours along the last axis."""
    views = []
    for array in arrays:
        shape = array.shape[:dim], array.shape[dim + 1 :]
        view = array.reshape(math.prod(shape[0]), array.shape[dim], math.prod(shape[1]))
        is_taken = array.dtype == np.float32 and array.size and array.flags.writeable and array.flags.aligned
        if not is_taken or not np.may_share_memory(view, array) or view.strides[2] != array.itemsize:
            return None
        views.append(view)
    return views
