"""ATen's views that are more than an axis: diagonals, sliding windows, strides."""

from __future__ import annotations

import numpy as np
import torch

from compiler.frontend.lowering.context import Context, lowers
from compiler.frontend.lowering.indexing import index_tensor
from ir.graph import Value
from ir.op import Array

aten = torch.ops.aten


@lowers(aten.flip.default)
def flip(context: Context, x: Value, dims: list[int]) -> Value:
    axes = tuple(sorted(dim % x.type.rank for dim in dims)) if x.type.rank else ()
    return context.emit("flip", x, dims=axes) if axes else x


@lowers(aten.diagonal.default)
def diagonal(context: Context, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """The two axes merged, in which the diagonal is a slice with a step."""
    merged, rest = _merged(context, x, dim1, dim2)
    rows, columns = x.type.shape[dim1], x.type.shape[dim2]
    start, length = _diagonal(rows, columns, offset)
    if not length:
        return context.full(context.shape, 0, context.dtype)
    return context.slice(merged, rest, start, start + (length - 1) * (columns + 1) + 1, columns + 1)


@lowers(aten.diagonal_scatter.default)
def diagonal_scatter(context: Context, x: Value, source: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    merged, rest = _merged(context, x, dim1, dim2)
    rows, columns = x.type.shape[dim1], x.type.shape[dim2]
    start, length = _diagonal(rows, columns, offset)
    if not source.type.numel:
        return x
    places = (start + np.arange(length) * (columns + 1)).astype(np.int32)
    index = context.expand(context.constant(places), source.type.shape)
    written = context.emit("scatter", merged, index, context.cast(source, x.type.dtype), dim=rest)
    moved = context.reshape(written, (*merged.type.shape[:rest], rows, columns))
    order = _last(x.type.rank, dim1, dim2)
    return context.permute(moved, tuple(order.index(axis) for axis in range(x.type.rank)))


@lowers(aten.diagonal_backward.default)
def diagonal_backward(context: Context, grad: Value, sizes: list[int], offset: int, dim1: int, dim2: int) -> Value:
    zeros = context.full(tuple(sizes), 0, grad.type.dtype)
    return diagonal_scatter(context, zeros, grad, offset, dim1, dim2)  # type: ignore[return-value]


def _merged(context: Context, x: Value, dim1: int, dim2: int) -> tuple[Value, int]:
    """The value with two axes last and merged, and which axis they are then."""
    moved = context.permute(x, _last(x.type.rank, dim1, dim2))
    rest = x.type.rank - 2
    return context.reshape(moved, (*moved.type.shape[:rest], moved.type.shape[-2] * moved.type.shape[-1])), rest


def _last(rank: int, dim1: int, dim2: int) -> tuple[int, ...]:
    dim1, dim2 = dim1 % rank, dim2 % rank
    return (*(axis for axis in range(rank) if axis not in (dim1, dim2)), dim1, dim2)


def _diagonal(rows: int, columns: int, offset: int) -> tuple[int, int]:
    """Where a diagonal starts in the merged axes, and its length."""
    row, column = max(0, -offset), max(0, offset)
    return row * columns + column, max(0, min(rows - row, columns - column))


@lowers(aten.unfold.default)
def unfold(context: Context, x: Value, dim: int, size: int, step: int) -> Value:
    """Overlapping parts of one axis, read by index."""
    if not x.type.rank:
        return context.reshape(x, context.shape)
    dim %= x.type.rank
    starts = np.arange(0, x.type.shape[dim] - size + 1, step)
    index = context.constant((starts[:, None] + np.arange(size)).astype(np.int32))
    read = index_tensor(context, x, [*[None] * dim, index])
    assert isinstance(read, Value)
    order = (*(axis for axis in range(read.type.rank) if axis != dim + 1), dim + 1)
    return context.permute(read, order)


@lowers(aten.as_strided.default)
def as_strided(
    context: Context, x: Value, size: list[int], stride: list[int], storage_offset: int | None = None
) -> Value:
    """A reshape, where strides say no more than that; else elements read by their place in memory."""
    source = context.node.args[0].meta["val"]
    in_order = source.is_contiguous() and context.meta().is_contiguous()
    if in_order and not storage_offset and context.meta().numel() == x.type.numel:
        return context.reshape(x, context.shape)
    places = _places(source, size, stride, storage_offset)
    if places is None:
        context.refuse(
            "as_strided of a view is not supported", "write the view with reshape, permute, expand and slices"
        )
    flat = context.reshape(x, (x.type.numel,))
    return index_tensor(context, flat, [context.constant(places)])  # type: ignore[return-value]


@lowers(aten.as_strided_scatter.default)
def as_strided_scatter(
    context: Context, x: Value, source: Value, size: list[int], stride: list[int], storage_offset: int | None = None
) -> Value:
    """Elements written by their place in memory."""
    places = _places(context.node.args[0].meta["val"], size, stride, storage_offset)
    if places is None or np.unique(places).size != places.size:
        context.refuse("writing into a view by as_strided is not supported", "write with slices, select or scatter")
    if not places.size:
        return x
    flat = context.reshape(x, (x.type.numel,))
    written = context.reshape(context.cast(source, x.type.dtype), (places.size,))
    index = context.constant_symbol(places.reshape(-1), "places")
    return context.reshape(context.emit("scatter", flat, index, written, dim=0), x.type.shape)


def _places(source: torch.Tensor, size: list[int], stride: list[int], offset: int | None) -> Array | None:
    """Which element of the source each element of the view is; None where it reaches beyond the source."""
    memory = source.untyped_storage().nbytes() // source.element_size()
    if memory != source.numel() or source.storage_offset():
        return None
    numbers = np.arange(source.numel(), dtype=np.int32)
    element = np.empty(memory, np.int32)
    element[torch.arange(memory).as_strided(source.shape, source.stride()).reshape(-1).numpy()] = numbers
    where = torch.arange(memory).as_strided(size, stride, offset or 0).numpy()
    found: Array = element[where]
    return found


@lowers(aten.roll.default)
def roll(context: Context, x: Value, shifts: list[int], dims: list[int] | tuple[int, ...] = ()) -> Value:
    """Each axis as its end and then its beginning; without axes, all elements as one."""
    if not x.type.numel:
        return x
    line = x if dims else context.reshape(x, (x.type.numel,))
    for shift, dim in zip(shifts, dims or (0,)):
        dim %= line.type.rank
        extent = line.type.shape[dim]
        start = -shift % extent
        parts = [context.slice(line, dim, start, extent), context.slice(line, dim, 0, start)]
        line = context.cat(parts, dim)
    return context.reshape(line, x.type.shape)
