"""Indexed reads and writes, and sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def sn_gather(
    x: Tensor,
    start_indices: Tensor,
    gather_dims: Sequence[int],
    gather_lengths: Sequence[int],
    batched_dims: int = 0,
) -> Tensor:
    """Slices of `x` [*batch, ...], one per row of `start_indices` [*batch, n, len(gather_dims)].

    Slice i begins at start_indices[..., i, j] on axis gather_dims[j], is gather_lengths[j] long there and whole on
    other axes. The result is [*batch, n, *slice]. `batched_dims` leading axes belong to both.
    """
    if batched_dims:
        rows = [
            sn_gather(a, b, [dim - 1 for dim in gather_dims], gather_lengths, batched_dims - 1)
            for a, b in zip(x.unbind(0), start_indices.unbind(0))
        ]
        return torch.stack(rows)
    slices = []
    for start in start_indices.unbind(0):
        part = x
        for dim, length, begin in zip(gather_dims, gather_lengths, start.unbind(0)):
            part = part.index_select(dim, begin + torch.arange(length, device=x.device))
        slices.append(part)
    return torch.stack(slices)


def sn_scatter(
    operand: Tensor,
    update: Tensor,
    start_indices: Tensor,
    scatter_dims: Sequence[int],
    rmw_op: str = "kUpdate",
    unique_indices: bool = False,
    batched_dims: int = 0,
) -> Tensor:
    """`operand` with slices replaced (`kUpdate`) or added to (`kAdd`), in the layout of `sn_gather`."""
    if rmw_op not in ("kUpdate", "kAdd"):
        raise ValueError(f"rmw_op is 'kUpdate' or 'kAdd', not {rmw_op!r}")
    if batched_dims:
        dims = [dim - 1 for dim in scatter_dims]
        rows = [
            sn_scatter(a, b, c, dims, rmw_op, unique_indices, batched_dims - 1)
            for a, b, c in zip(operand.unbind(0), update.unbind(0), start_indices.unbind(0))
        ]
        return torch.stack(rows)
    result = operand
    for part, start in zip(update.unbind(0), start_indices.unbind(0)):
        result = _scattered(result, part, start, scatter_dims, rmw_op == "kAdd")
    return result


def _scattered(operand: Tensor, part: Tensor, start: Tensor, dims: Sequence[int], add: bool) -> Tensor:
    """One slice written: elements inside the window come from `part`, others from `operand`."""
    inside = torch.ones((1,) * operand.dim(), dtype=torch.bool, device=operand.device)
    moved = part
    for dim, begin in zip(dims, start.unbind(0)):
        offset = torch.arange(operand.shape[dim], device=operand.device) - begin
        shape = [1] * operand.dim()
        shape[dim] = operand.shape[dim]
        inside = inside & ((offset >= 0) & (offset < part.shape[dim])).reshape(shape)
        moved = moved.index_select(dim, offset.clamp(0, part.shape[dim] - 1))
    return torch.where(inside, operand + moved if add else moved.expand_as(operand), operand)


def sn_multinomial(probs: Tensor, randoms: Tensor, **options: Any) -> Tensor:
    """One sample per row of `probs` [..., n] by inverse transform of `randoms` [...] or [..., 1], uniform in [0, 1)."""
    levels = probs.cumsum(-1)
    drawn = randoms if randoms.dim() == probs.dim() else randoms.unsqueeze(-1)
    return (levels <= drawn * levels[..., -1:]).sum(-1, keepdim=True).clamp(max=probs.shape[-1] - 1)
