"""Indexed reads and writes, and sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ir.errors import Problem, UsageError


@dataclass(frozen=True)
class _Windows:
    """Where windows of a tensor [*batch, *axes] lie: `rows` are the indices of their elements [*batch, *index,
    *lengths], counted over the batch and the indexed axes; `order` brings those to the front, before the others."""

    rows: Tensor
    order: list[int]
    back: list[int]
    count: int

    @staticmethod
    def of(x: Tensor, starts: Tensor, dims: Sequence[int], lengths: Sequence[int], batched: int) -> _Windows:
        """`dims` count from behind the batch axes. Raises UsageError where the arguments do not fit each other."""
        _require_fit(x, starts, dims, lengths, batched)
        axes = [batched + dim % (x.dim() - batched) for dim in dims]
        others = [axis for axis in range(batched, x.dim()) if axis not in axes]
        order = [*range(batched), *axes, *others]
        index_rank = starts.dim() - 1 - batched
        rows = torch.zeros((), dtype=torch.int64, device=starts.device)
        for axis in range(batched):
            here = torch.arange(x.shape[axis], device=starts.device)
            rows = rows * x.shape[axis] + here.reshape([-1] + [1] * (batched - 1 - axis + index_rank + len(axes)))
        for number, (axis, length) in enumerate(zip(axes, lengths)):
            start = starts.select(-1, number).long().reshape([*starts.shape[:-1], *[1] * len(axes)])
            step = torch.arange(length, device=starts.device).reshape([-1] + [1] * (len(axes) - 1 - number))
            rows = rows * x.shape[axis] + (start + step)
        rows = rows.expand(*starts.shape[:-1], *lengths)
        count = math.prod(x.shape[axis] for axis in order[: batched + len(axes)])
        return _Windows(rows, order, _slice_order(x.dim() - batched, axes, others, batched), count)

    def table(self, x: Tensor) -> Tensor:
        """`x` as [indexed elements, others]."""
        return x.permute(self.order).reshape(self.count, -1)


def _require_fit(x: Tensor, starts: Tensor, dims: Sequence[int], lengths: Sequence[int], batched: int) -> None:
    shapes = f"x has shape {list(x.shape)}, start_indices {list(starts.shape)}"
    if starts.dim() <= batched or starts.shape[:batched] != x.shape[:batched]:
        hint = f"the first {batched} axes of both are the batch"
        raise UsageError(Problem(f"batched_dims={batched} does not fit: {shapes}", hint=hint))
    if starts.shape[-1] != len(dims) or len(dims) != len(lengths):
        counts = f"{len(dims)} axes and {len(lengths)} lengths are given, but the last axis of start_indices has"
        raise UsageError(Problem(f"{counts} {starts.shape[-1]}: {shapes}", hint="give one start for each axis"))


def _slice_order(rank: int, axes: Sequence[int], others: Sequence[int], batched: int) -> list[int]:
    """The permutation from [*indexed axes, *others] back to the order of a slice."""
    front = [*axes, *others]
    return [front.index(axis) for axis in range(batched, batched + rank)]


def sn_gather(
    x: Tensor,
    start_indices: Tensor,
    gather_dims: Sequence[int],
    gather_lengths: Sequence[int],
    batched_dims: int = 0,
) -> Tensor:
    """Slices of `x` [*batch, *axes], one for each row of `start_indices` [*batch, *index, len(gather_dims)].

    A slice begins at start_indices[..., j] on axis gather_dims[j], is gather_lengths[j] long there and whole on other
    axes. The result is [*batch, *index, *slice]. The first `batched_dims` axes are the batch of both; gather_dims count
    from behind them. Raises UsageError where the arguments do not fit each other.
    """
    windows = _Windows.of(x, start_indices, gather_dims, gather_lengths, batched_dims)
    found = windows.table(x).index_select(0, windows.rows.reshape(-1))
    others = [x.shape[axis] for axis in windows.order[batched_dims + len(gather_dims) :]]
    lead = start_indices.dim() - 1
    found = found.reshape(*windows.rows.shape, *others)
    return found.permute([*range(lead), *(lead + axis for axis in windows.back)])


def sn_scatter(
    operand: Tensor,
    update: Tensor,
    start_indices: Tensor,
    scatter_dims: Sequence[int],
    rmw_op: str = "kUpdate",
    unique_indices: bool = False,
    batched_dims: int = 0,
) -> Tensor:
    """`operand` with slices replaced (`kUpdate`) or added to (`kAdd`), in the layout of `sn_gather`: `update` is
    [*batch, *index, *slice]. Raises UsageError where the arguments do not fit each other."""
    if rmw_op not in ("kUpdate", "kAdd"):
        raise UsageError(Problem(f"rmw_op {rmw_op!r} is not known", hint="give 'kUpdate' or 'kAdd'"))
    lead = start_indices.dim() - 1
    axes = [dim % (operand.dim() - batched_dims) for dim in scatter_dims]
    windows = _Windows.of(
        operand, start_indices, scatter_dims, [update.shape[lead + axis] for axis in axes], batched_dims
    )
    forward = [windows.back.index(position) for position in range(len(windows.back))]
    source = update.permute([*range(lead), *(lead + axis for axis in forward)])
    table = windows.table(operand)
    source = source.reshape(-1, table.shape[1]).to(table.dtype)
    index = windows.rows.reshape(-1, 1).expand(source.shape)
    written = table.scatter_add(0, index, source) if rmw_op == "kAdd" else table.scatter(0, index, source)
    inverse = [windows.order.index(axis) for axis in range(operand.dim())]
    return written.reshape([operand.shape[axis] for axis in windows.order]).permute(inverse)


def sn_multinomial(probs: Tensor, randoms: Tensor, **options: Any) -> Tensor:
    """One sample per row of `probs` [..., n] by inverse transform of `randoms` [...] or [..., 1], uniform in [0, 1)."""
    levels = probs.cumsum(-1)
    drawn = randoms if randoms.dim() == probs.dim() else randoms.unsqueeze(-1)
    return (levels <= drawn * levels[..., -1:]).sum(-1, keepdim=True).clamp(max=probs.shape[-1] - 1)
