"""Loops that NumPy cannot express: numba compiles them when they are first called, and keeps them on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """The same function as machine code. It runs without the interpreter's lock, and associates sums as written."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
