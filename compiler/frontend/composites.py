"""Composite ATen operators that are traced as our own expression of them instead of PyTorch's.

PyTorch picks a fused attention kernel by the host's device; on the RDU attention is two matrix products around a
softmax, and the compiler does the fusing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T * scale + mask) value, of [..., length, features] tensors."""
    if enable_gqa:
        groups = query.size(-3) // key.size(-3)
        key, value = (_repeated(tensor, groups) for tensor in (key, value))
    scale = query.size(-1) ** -0.5 if scale is None else scale
    scores = (query @ key.transpose(-2, -1)) * scale
    if is_causal:
        attn_mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = torch.where(attn_mask, scores, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = torch.nn.functional.dropout(torch.softmax(scores, -1), dropout_p, dropout_p > 0)
    return weights @ value


def _repeated(tensor: Tensor, groups: int) -> Tensor:
    """Each head repeated for the `groups` query heads that share it."""
    *batch, heads, length, features = tensor.shape
    expanded = tensor.unsqueeze(-3).expand(*batch, heads, groups, length, features)
    return expanded.reshape(*batch, heads * groups, length, features)


def cumulative_sum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """The sum over all elements up to each along `dim`: a product with a triangle of ones."""
    x = x if dtype is None else x.to(dtype)
    if not x.is_floating_point() or x.dim() == 0:
        return torch.cumsum(x, dim)
    triangle = torch.ones(x.size(dim), x.size(dim), dtype=x.dtype, device=x.device).triu()
    last = x.movedim(dim, -1)
    return (last.reshape(-1, x.size(dim)) @ triangle).reshape(last.shape).movedim(-1, dim)


def _copied(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """What assigning `source` to all of `target` gives; PyTorch's own operator for it has no derivative."""
    return source.to(target.dtype).expand_as(target)


COMPOSITES: dict[Any, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: attention,
    aten.cumsum.default: cumulative_sum,
    aten.copy.default: _copied,
    aten.view.default: torch.reshape,  # strides differ from the fused attention's; here they mean nothing
}
"""What to trace instead of each composite operator."""
