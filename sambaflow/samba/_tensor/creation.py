"""Functions that make SambaTensors: torch's, with a name and the batch dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sambaflow.samba.sambatensor import SambaTensor, from_torch_tensor

ATTRIBUTES = ("name", "batch_dim", "named_dims", "sized_dims", "region_name")


def _made(function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> SambaTensor:
    """What a torch function returns, with the attributes of a SambaTensor that were given beside its own."""
    attributes = {key: named.pop(key) for key in ATTRIBUTES if key in named}
    attributes["name"] = attributes.get("name") or None
    return from_torch_tensor(function(*arguments, **named), **attributes)


def randn(*size: Any, **named: Any) -> SambaTensor:
    """Normally distributed numbers: torch.randn with `name` and `batch_dim`."""
    return _made(torch.randn, size, named)


def rand(*size: Any, **named: Any) -> SambaTensor:
    """Uniform numbers in [0, 1): torch.rand with `name` and `batch_dim`."""
    return _made(torch.rand, size, named)


def randint(*arguments: Any, **named: Any) -> SambaTensor:
    """Random integers: `randint(high, size)` or `randint(low, high, size)`, with `name` and `batch_dim`."""
    return _made(torch.randint, arguments, named)


def normal(*arguments: Any, **named: Any) -> SambaTensor:
    """torch.normal with `name` and `batch_dim`."""
    return _made(torch.normal, arguments, named)


def zeros(*size: Any, **named: Any) -> SambaTensor:
    """torch.zeros with `name` and `batch_dim`."""
    return _made(torch.zeros, size, named)


def ones(*size: Any, **named: Any) -> SambaTensor:
    """torch.ones with `name` and `batch_dim`."""
    return _made(torch.ones, size, named)


def empty(*size: Any, **named: Any) -> SambaTensor:
    """torch.empty with `name` and `batch_dim`."""
    return _made(torch.empty, size, named)


def full(*arguments: Any, **named: Any) -> SambaTensor:
    """torch.full with `name` and `batch_dim`."""
    return _made(torch.full, arguments, named)


def arange(*arguments: Any, **named: Any) -> SambaTensor:
    """torch.arange with `name` and `batch_dim`."""
    return _made(torch.arange, arguments, named)


def randn_like(tensor: Tensor, **named: Any) -> SambaTensor:
    """Normally distributed numbers of a tensor's shape and element type."""
    return _made(torch.randn, (tuple(tensor.shape),), {"dtype": tensor.dtype, **named})


def rand_like(tensor: Tensor, **named: Any) -> SambaTensor:
    """Uniform numbers of a tensor's shape and element type."""
    return _made(torch.rand, (tuple(tensor.shape),), {"dtype": tensor.dtype, **named})


def zeros_like(tensor: Tensor, **named: Any) -> SambaTensor:
    """Zeros of a tensor's shape and element type."""
    return _made(torch.zeros, (tuple(tensor.shape),), {"dtype": tensor.dtype, **named})


def ones_like(tensor: Tensor, **named: Any) -> SambaTensor:
    """Ones of a tensor's shape and element type."""
    return _made(torch.ones, (tuple(tensor.shape),), {"dtype": tensor.dtype, **named})
