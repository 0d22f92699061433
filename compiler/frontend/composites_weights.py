"""Weights that are computed from other weights, and products of three tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """v with the length g along every axis but `dim`."""
    return weight_and_norm(v, g, dim)[0]


def weight_and_norm(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """The same, and the length that v had."""
    others = [axis for axis in range(v.dim()) if axis != dim % v.dim()] if dim != -1 else list(range(v.dim()))
    norm = torch.linalg.vector_norm(v, 2, others, keepdim=dim != -1)
    return v * (g / norm), norm


def bilinear(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x^T W y for each matrix W of the weight: one product of x with all of them, then of each result with y."""
    outputs, features, others = weight.shape
    rows = x.reshape(-1, features) @ weight.permute(1, 0, 2).reshape(features, outputs * others)
    made = rows.reshape(-1, outputs, others) @ y.reshape(-1, others, 1)
    result = made.reshape(*x.shape[:-1], outputs)
    return result if bias is None else result + bias


WEIGHTS: dict[Any, Callable[..., Any]] = {
    aten._weight_norm.default: weight_norm,
    aten._weight_norm_interface.default: weight_and_norm,
    aten.bilinear.default: bilinear,
}
"""By ATen overload."""
