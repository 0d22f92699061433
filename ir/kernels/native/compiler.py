"""How the loops are compiled: ahead of their first call, for the types that they declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(signature: str, *, reassociates: bool = False, fuses: bool = True) -> Callable[[Function], Function]:
    """The same function as machine code for arguments of these types, run without the interpreter's lock.

    Products and sums may be fused, unless `fuses` is false; what it calls takes after it where it says nothing itself.
    With `reassociates`, sums are added up in as many parts as the processor's vectors are wide: the order depends on
    the processor, never on the number of threads.
    """
    flags = {"contract"} if fuses else set()
    if reassociates:
        flags |= {"reassoc", "nsz"}

    def decorate(function: Function) -> Function:
        return cast(
            Function, numba.njit(signature, cache=True, nogil=True, fastmath=flags, error_model="numpy")(function)
        )

    return decorate


def inlined(function: Function) -> Function:
    """The same function for compiled ones to call."""
    return cast(Function, numba.njit(inline="always", fastmath={"contract"})(function))
