"""samba's functions: torch's, on torch or Samba tensors or numbers, with SambaTensors as results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ir.errors import Problem, UnsupportedError
from sambaflow.samba._tensor.overrides import promoted
from sambaflow.samba.sambatensor import SambaTensor


def mirror(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with mixed precisions as the device takes them, without `out=`, and SambaTensors as results."""
    name = getattr(function, "__name__", repr(function))

    @functools.wraps(function, assigned=("__name__", "__doc__"), updated=())
    def mirrored(*arguments: Any, **named: Any) -> Any:
        if named.get("out") is not None:
            hint = f"use the result: y = samba.{name}(...)"
            raise UnsupportedError(Problem(f"samba.{name} does not take out=", hint=hint))
        arguments, kept = promoted(function, arguments, {k: v for k, v in named.items() if k != "out"})
        return pytree.tree_map(_as_samba, function(*arguments, **kept))

    return mirrored


def _as_samba(value: Any) -> Any:
    """Eager results as SambaTensors; while a graph is captured tensors stay as they are."""
    is_eager = isinstance(value, Tensor) and type(value) is torch.Tensor
    return value.as_subclass(SambaTensor) if is_eager else value
