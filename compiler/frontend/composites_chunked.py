"""A linear layer and its cross entropy in one, which PyTorch computes in chunks of the batch to save memory.

On the device the logits stream anyway: it is traced as a product and a loss that autograd differentiates. PyTorch
makes the gradients in the forward pass already, and a batch that is ignored as a whole makes all of them NaN.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def rows_of_loss(
    x: Tensor, matrix: Tensor, target: Tensor, bias: Tensor | None, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The loss of every row, times the weight of its class, and these weights: zero where the target is ignored."""
    ignored = target == ignore_index
    target = torch.where(ignored, 0, target)
    counted = torch.ones_like(target, dtype=x.dtype) if weight is None else weight.detach()[target]
    counted = torch.where(ignored, 0.0, counted).to(x.dtype)
    scores = functional.log_softmax(functional.linear(x, matrix, bias), -1)
    return functional.nll_loss(scores, target, reduction="none") * counted, counted


def each_row(
    x: Tensor, matrix: Tensor, target: Tensor, bias: Tensor | None, weight: Tensor | None, ignore_index: int, *_: Any
) -> Tensor:
    """The losses as they are."""
    return rows_of_loss(x, matrix, target, bias, weight, ignore_index)[0]


def reduced(
    x: Tensor,
    matrix: Tensor,
    target: Tensor,
    bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Their sum or mean; in place of the gradients that PyTorch keeps for later, nothing."""
    rows, counted = rows_of_loss(x, matrix, target, bias, weight, ignore_index)
    loss = rows.sum() / counted.sum() if reduction == "mean" else rows.sum()
    nothing = x.detach().new_zeros(0)
    return loss, nothing, nothing, nothing


def _table() -> dict[Any, Callable[..., Any]]:
    """By the operators, which are PyTorch's own business: a release that has none of them needs no rules for them."""
    try:
        importlib.import_module("torch.nn.modules.linear_cross_entropy")  # defines them
    except ImportError:
        return {}
    name = "_linear_cross_entropy_batch_chunked"
    rules: dict[str, Callable[..., Any]] = {name: reduced, f"{name}_no_reduction": each_row}
    own = torch.ops.torch_nn
    return {getattr(own, name).default: rule for name, rule in rules.items() if hasattr(own, name)}


CHUNKED = _table()
"""What to trace instead of each."""
