"""How the loops are compiled: ahead of their first call, for the types that they declare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def digest(folder: Path) -> str:
    """What stands for all Python sources below a folder."""
    found = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        found.update(source.read_bytes())
    return found.hexdigest()[:12]


@cache
def _kernels() -> str:
    return digest(Path(__file__).parents[1])


def compiled(signature: str, *, reassociates: bool = False, fuses: bool = True) -> Callable[[Function], Function]:
    """The same function as machine code for arguments of these types, run without the interpreter's lock.

    Products and sums may be fused, unless `fuses` is false; what it calls takes after it where it says nothing itself.
    With `reassociates`, sums are added up in as many parts as the processor's vectors are wide: the order depends on
    the processor, never on the number of threads.

    What is kept on disk is named after all sources of kernels: numba looks at those of the function alone, and would
    go on using code that another file has changed.
    """
    flags = {"contract"} if fuses else set()
    if reassociates:
        flags |= {"reassoc", "nsz"}

    def decorate(function: Function) -> Function:
        function.__qualname__ += f"_{_kernels()}"
        return cast(
            Function, numba.njit(signature, cache=True, nogil=True, fastmath=flags, error_model="numpy")(function)
        )

    return decorate


def inlined(function: Function) -> Function:
    """The same function for compiled ones to call."""
    return cast(Function, numba.njit(inline="always", fastmath={"contract"})(function))
