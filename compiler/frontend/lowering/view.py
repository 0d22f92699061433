"""ATen's view-like operators, slices, and concatenation."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch

from compiler.frontend.lowering.context import Context, Scalar, lowers
from ir.graph import Value

aten = torch.ops.aten


@lowers(
    aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dim,
    aten.squeeze.dims, aten.squeeze.default,
)  # fmt: skip
def reshape(context: Context, x: Value, *_: Any) -> Value:
    return context.reshape(x, context.shape)


@lowers(aten.t.default)
def t(context: Context, x: Value) -> Value:
    return context.transpose(x) if x.type.rank == 2 else x


@lowers(aten.transpose.int)
def transpose(context: Context, x: Value, first: int, second: int) -> Value:
    if not x.type.rank:
        return x
    dims = list(range(x.type.rank))
    dims[first], dims[second] = dims[second], dims[first]
    return context.permute(x, tuple(dims))


@lowers(aten.permute.default)
def permute(context: Context, x: Value, dims: list[int]) -> Value:
    return context.permute(x, tuple(dim % x.type.rank for dim in dims))


@lowers(aten.expand.default)
def expand(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.expand(x, context.shape)


@lowers(aten.repeat.default)
def repeat(context: Context, x: Value, repeats: list[int]) -> Value:
    """Each axis as (repeats, extent): broadcast the first, then merge."""
    shape = (*([1] * (len(repeats) - x.type.rank)), *x.type.shape)
    apart = context.reshape(x, tuple(extent for pair in shape for extent in (1, pair)))
    spread = context.expand(apart, tuple(extent for pair in zip(repeats, shape) for extent in pair))
    return context.reshape(spread, context.shape)


@lowers(aten.slice.Tensor)
def slice_(
    context: Context, x: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Value:
    dim %= x.type.rank
    first, stop, _ = slice(start, end).indices(x.type.shape[dim])
    return context.slice(x, dim, first, max(first, stop), step)


@lowers(aten.select.int)
def select(context: Context, x: Value, dim: int, index: int) -> Value:
    dim %= x.type.rank
    index %= x.type.shape[dim]
    return context.reshape(context.slice(x, dim, index, index + 1), context.shape)


@lowers(aten.cat.default)
def cat(context: Context, parts: list[Value], dim: int = 0) -> Value:
    parts = [context.cast(part, context.dtype) for part in parts if part.type.shape != (0,)]
    return context.cat(parts, dim % len(context.shape)) if parts else context.full(context.shape, 0, context.dtype)


@lowers(aten.stack.default)
def stack(context: Context, parts: list[Value], dim: int = 0) -> Value:
    rank = len(context.shape)
    shape = (*context.shape[: dim % rank], 1, *context.shape[dim % rank + 1 :])
    return context.cat([context.reshape(context.cast(part, context.dtype), shape) for part in parts], dim % rank)


@lowers(aten.split.Tensor)
def split(context: Context, x: Value, size: int, dim: int = 0) -> list[Value]:
    extent = x.type.shape[dim]
    return split_with_sizes(context, x, [min(size, extent - at) for at in range(0, extent, size)], dim)  # type: ignore[return-value]


@lowers(aten.split_with_sizes.default)
def split_with_sizes(context: Context, x: Value, sizes: list[int], dim: int = 0) -> list[Value]:
    ends = list(accumulate(sizes))
    return [context.slice(x, dim % x.type.rank, end - size, end) for size, end in zip(sizes, ends)]


@lowers(aten.unbind.int)
def unbind(context: Context, x: Value, dim: int = 0) -> list[Value]:
    dim %= x.type.rank
    return [
        context.reshape(context.slice(x, dim, index, index + 1), context.shape) for index in range(x.type.shape[dim])
    ]


@lowers(aten.slice_backward.default)
def slice_backward(context: Context, grad: Value, sizes: list[int], dim: int, start: int, end: int, step: int) -> Value:
    """The gradient in its place, zeros around it."""
    first, stop, _ = slice(start, end).indices(sizes[dim])
    if step != 1:
        zeros = context.full(tuple(sizes), 0, grad.type.dtype)
        return _every(context, zeros, grad, dim % len(sizes), range(first, max(first, stop), step))
    return _padded(context, grad, dim % len(sizes), first, sizes[dim] - max(first, stop), 0)


@lowers(aten.select_backward.default)
def select_backward(context: Context, grad: Value, sizes: list[int], dim: int, index: int) -> Value:
    dim %= len(sizes)
    index %= sizes[dim]
    one = context.reshape(grad, (*sizes[:dim], 1, *sizes[dim + 1 :]))
    return _padded(context, one, dim, index, sizes[dim] - index - 1, 0)


@lowers(aten.slice_scatter.default)
def slice_scatter(
    context: Context,
    x: Value,
    source: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    dim %= x.type.rank
    first, stop, _ = slice(start, end).indices(x.type.shape[dim])
    if step != 1:
        return _every(context, x, context.cast(source, x.type.dtype), dim, range(first, max(first, stop), step))
    return _replaced(context, x, source, dim, first, max(first, stop))


@lowers(aten.select_scatter.default)
def select_scatter(context: Context, x: Value, source: Value, dim: int, index: int) -> Value:
    dim %= x.type.rank
    index %= x.type.shape[dim]
    one = context.reshape(source, (*x.type.shape[:dim], 1, *x.type.shape[dim + 1 :]))
    return _replaced(context, x, one, dim, index, index + 1)


@lowers(aten.constant_pad_nd.default)
def constant_pad_nd(context: Context, x: Value, pad: list[int], value: Scalar = 0) -> Value:
    """`pad` lists (before, after) from the last axis backwards; negative amounts cut."""
    for i in range(0, len(pad), 2):
        dim = x.type.rank - 1 - i // 2
        x = context.slice(x, dim, max(0, -pad[i]), x.type.shape[dim] - max(0, -pad[i + 1]))
        x = _padded(context, x, dim, max(0, pad[i]), max(0, pad[i + 1]), value)
    return x


def _every(context: Context, x: Value, source: Value, dim: int, places: range) -> Value:
    """`x` with `source` at places along an axis that lie apart: each with what follows it to the next is a period."""
    if not source.type.numel:
        return x
    count, start, extent = len(places), places.start, x.type.shape[dim]
    stop = start + count * places.step
    region = context.slice(x, dim, start, min(stop, extent))
    region = _padded(context, region, dim, 0, max(0, stop - extent), 0)
    lead, rest = x.type.shape[:dim], x.type.shape[dim + 1 :]
    periods = context.reshape(region, (*lead, count, places.step, *rest))
    followers = context.slice(periods, dim + 1, 1, places.step)
    first = context.reshape(source, (*lead, count, 1, *rest))
    written = context.reshape(context.cat([first, followers], dim + 1), region.type.shape)
    return _replaced(
        context, x, context.slice(written, dim, 0, min(stop, extent) - start), dim, start, min(stop, extent)
    )


def _padded(context: Context, x: Value, dim: int, before: int, after: int, value: Scalar) -> Value:
    """The value with constant elements before and after it along one axis."""

    def constant(extent: int) -> Value:
        return context.full((*x.type.shape[:dim], extent, *x.type.shape[dim + 1 :]), value, x.type.dtype)

    parts = [constant(before)] if before else []
    return context.cat([*parts, x, *([constant(after)] if after else [])], dim)


def _replaced(context: Context, x: Value, source: Value, dim: int, start: int, stop: int) -> Value:
    """`x` with `source` in place of a slice."""
    parts = []
    if start:
        parts.append(context.slice(x, dim, 0, start))
    parts.append(context.cast(source, x.type.dtype))
    if stop < x.type.shape[dim]:
        parts.append(context.slice(x, dim, stop, x.type.shape[dim]))
    return context.cat(parts, dim)
