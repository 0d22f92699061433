"""The elementwise kernel language: a function of scalars, mapped over broadcast tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sambaflow.samba._tensor.sntype import SNType

REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum,
    "add": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "mean": torch.mean,
}


@dataclass(frozen=True)
class Attributes:
    """What a kernel knows of the iteration: the extents of the broadcast shape, and the device of its inputs."""

    shape: tuple[int, ...]
    device: torch.device


def sn_zipmapreduce(
    func: Callable[..., Any],
    inputs: Sequence[Tensor],
    reduce_func: Any = None,
    reduce_dim: int | Sequence[int] | None = None,
    stoc_accum: bool = False,
) -> Any:
    """`func` over the broadcast `inputs`, then a reduction over `reduce_dim` ('sum', 'max', 'min', 'mean' or a torch
    function of (tensor, dim)). A `func` with one parameter more than inputs gets the iteration's attributes first."""
    shape = tuple(torch.broadcast_shapes(*(tensor.shape for tensor in inputs)))
    arguments: list[Any] = list(inputs)
    if len(inspect.signature(func).parameters) > len(inputs):
        arguments.insert(0, Attributes(shape, inputs[0].device))
    result = func(*arguments)
    if reduce_func is None:
        return result
    reduction = REDUCTIONS[str(reduce_func)] if not callable(reduce_func) else reduce_func
    return reduction(result, dim=reduce_dim)


def sn_imm(input: Any, dtype: SNType | torch.dtype | None = None) -> Any:
    """A constant of an element type."""
    return torch.tensor(input, dtype=_torch_type(dtype))


def sn_iteridx(attrs: Attributes, dim: int, dtype: SNType | torch.dtype | None = None) -> Any:
    """The index along an axis of the iteration, broadcasting over the others."""
    extents = [1] * len(attrs.shape)
    extents[dim] = attrs.shape[dim]
    return torch.arange(attrs.shape[dim], dtype=_torch_type(dtype), device=attrs.device).reshape(extents)


def sn_select(cond: Tensor, true_val: Any, false_val: Any) -> Any:
    """`true_val` where `cond` holds, else `false_val`."""
    return torch.where(cond, true_val, false_val)


def _torch_type(dtype: SNType | torch.dtype | None) -> torch.dtype | None:
    return None if dtype is None else SNType.to_torch_reference_type(dtype)
