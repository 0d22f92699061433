"""Bags of rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
SUM, MEAN, MAX = 0, 1, 2


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = -1,
) -> tuple[Tensor, ...]:
    """Rows of a table, summed, averaged or compared by bag: a bag is a row of truth values."""
    if scale_grad_by_freq and torch.is_grad_enabled() and weight.requires_grad:
        # PyTorch divides a row's gradient by how often another row occurs; it is refused by the operator's name.
        arguments = (weight, indices, offsets, True, mode, False, per_sample_weights, include_last_offset)
        refused: tuple[Tensor, ...] = aten._embedding_bag(*arguments)
        return refused
    starts = offsets[:-1] if include_last_offset else offsets
    positions = torch.arange(indices.numel(), device=indices.device)
    ends = torch.cat([starts[1:], offsets[-1:] if include_last_offset else positions.new_full((1,), indices.numel())])
    ignored = -1 if padding_idx is None else padding_idx
    member = (positions >= starts[:, None]) & (positions < ends[:, None]) & (indices != ignored)
    rows = torch.nn.functional.embedding(indices, weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    count = member.sum(1)
    if mode == MAX:
        largest = torch.where(member[:, :, None], rows, float("-inf")).max(1).values  # the first has the gradient
        bags = torch.where(count[:, None] > 0, largest, 0.0)
    else:
        bags = member.to(rows.dtype) @ rows
        bags = bags / count.clamp(min=1)[:, None].to(rows.dtype) if mode == MEAN else bags
    return bags, member.int().argmax(0), count, starts


def embedding_bag_padded(*arguments: Any) -> tuple[Tensor, ...]:
    """The same where the ignored index, the last argument, may be counted from the end or be None."""
    padding_idx = arguments[-1]
    wrapped = -1 if padding_idx is None else padding_idx % len(arguments[0])
    return embedding_bag(*(*arguments[:-1], wrapped))


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """Rows of a table; a sparse gradient is the dense one without its zeros."""
    rows: Tensor = aten.embedding(weight, indices, padding_idx, scale_grad_by_freq, False)
    return rows


def embedding_renorm_(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Rows that are looked up and longer than `max_norm` made that long, in the table itself, as PyTorch does."""
    used = weight.new_zeros(len(weight)).scatter(0, indices.flatten(), 1.0) > 0
    norms = weight.norm(norm_type, dim=1)
    scale = torch.where(used & (norms > max_norm), max_norm / (norms + 1e-7), 1.0)
    return weight.copy_(weight * scale[:, None])


TABLES: dict[Any, Callable[..., Any]] = {
    aten.embedding.default: embedding,
    aten.embedding_renorm_.default: embedding_renorm_,
    aten.embedding_bag.default: embedding_bag,
    aten.embedding_bag.padding_idx: embedding_bag_padded,
    aten._embedding_bag.default: embedding_bag,
    aten._embedding_bag_forward_only.default: embedding_bag,
}
"""By ATen overload."""
