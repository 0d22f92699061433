"""PyTorch's own decompositions of the operators that have no lowering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch._decomp import decomposition_table

from compiler.frontend.lowering import LOWERINGS


@cache
def decompositions() -> Mapping[Any, Callable[..., Any]]:
    """Functions by ATen overload, for all that PyTorch can decompose and that have no lowering; the same for any model.

    PyTorch writes some of them in its `prims`, which are decomposed into the ATen operators they stand for. Operators
    that take no tensor make constants, which are computed when compiling: no need to take them apart. Composite ones
    bring their own decomposition.
    """
    table: dict[Any, Callable[..., Any]] = {
        overload: overload.decompose if _is_composite(overload) else rule
        for overload, rule in decomposition_table.items()
        if _takes_tensors(overload)
    }
    for name in dir(torch.ops.prims):
        overload = getattr(getattr(torch.ops.prims, name), "default", None)
        in_aten = getattr(getattr(torch.ops.prims, name), "impl_aten", None)
        if overload is not None and in_aten is not None:
            table[overload] = in_aten
    return {overload: _once(rule) for overload, rule in table.items() if overload not in LOWERINGS}


def _once(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule, leaving alone what it leads back to: an operator whose prim stands for that operator itself."""
    active = False

    def guarded(*args: Any, **kwargs: Any) -> Any:
        nonlocal active
        if active:
            return NotImplemented
        active = True
        try:
            return rule(*args, **kwargs)
        finally:
            active = False

    return guarded


def _is_composite(overload: Any) -> bool:
    return bool(overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd))


def _takes_tensors(overload: Any) -> bool:
    schema = getattr(overload, "_schema", None)
    return schema is not None and any("Tensor" in str(argument.type) for argument in schema.arguments)
