"""ATen's reading and writing by index tensors. Several indices become one, into a table of the rows they choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from compiler.frontend.lowering.context import Context, Scalar, lowers
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten
DATA_DEPENDENT = "keep the shape: choose with torch.where(mask, x, 0), or select on the host"


@dataclass(frozen=True)
class _Rows:
    """How a tensor is a table of the rows that indices choose.

    order: its axes, indexed ones first.   rows, rest: the extents of the indexed and of the other axes.
    index: the row numbers, in the indices' common shape.   place: the axis of the result where that shape goes.
    """

    order: tuple[int, ...]
    rows: tuple[int, ...]
    rest: tuple[int, ...]
    index: Value
    place: int

    @property
    def table_shape(self) -> tuple[int, int]:
        return math.prod(self.rows), math.prod(self.rest)

    def table(self, context: Context, x: Value) -> Value:
        """[rows, features]"""
        return context.reshape(context.permute(x, self.order), self.table_shape)

    def tensor(self, context: Context, table: Value) -> Value:
        """The tensor that a table stands for."""
        moved = context.reshape(table, (*self.rows, *self.rest))
        return context.permute(moved, tuple(self.order.index(axis) for axis in range(len(self.order))))

    @property
    def result_order(self) -> tuple[int, ...]:
        """The axes of [index..., rest...] as the result of indexing has them."""
        count, rest = self.index.type.rank, len(self.rest)
        behind = [count + axis for axis in range(rest)]
        return (*behind[: self.place], *range(count), *behind[self.place :])

    @property
    def chosen_shape(self) -> tuple[int, ...]:
        """[index..., rest...]"""
        return (*self.index.type.shape, *self.rest)


def _rows(context: Context, x: Value, indices: list[Value | None]) -> _Rows:
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    shape = tuple(np.broadcast_shapes(*(index.type.shape for index in given)))
    others = [axis for axis in range(x.type.rank) if axis not in axes]
    adjacent = axes == list(range(axes[0], axes[-1] + 1))
    extents = tuple(x.type.shape[axis] for axis in axes)
    number: Value | None = None
    for index, extent in zip(given, extents):
        wrapped = _wrapped(context, index, extent)
        number = wrapped if number is None else _combined(context, number, extent, wrapped)
    assert number is not None
    return _Rows(
        (*axes, *others),
        extents,
        tuple(x.type.shape[axis] for axis in others),
        context.expand(number, shape),
        axes[0] if adjacent else 0,
    )


def _wrapped(context: Context, index: Value, extent: int) -> Value:
    """The index with negative ones counted from the end."""
    known = context.known(index)
    if known is not None:
        return index if known.min(initial=0) >= 0 else context.constant(np.where(known < 0, known + extent, known))
    index = context.cast(index, DType.I32)
    negative = context.emit("lt", index, context.scalar(0, DType.I32))
    return context.emit("where", negative, context.emit("add", index, context.scalar(extent, DType.I32)), index)


def _combined(context: Context, number: Value, extent: int, index: Value) -> Value:
    """Row numbers over one more axis."""
    outer, inner = context.known(number), context.known(index)
    if outer is not None and inner is not None:
        return context.constant((outer * extent + inner).astype(np.int32))
    return context.emit("add", context.emit("mul", number, context.scalar(extent, DType.I32)), index)


def _integers_only(context: Context, indices: list[Value | None]) -> None:
    if any(index is not None and index.type.dtype is DType.BOOL for index in indices):
        context.refuse("indexing by a mask makes a tensor whose shape depends on values", DATA_DEPENDENT)


@lowers(aten.index.Tensor, aten._unsafe_index.Tensor)
def index_tensor(context: Context, x: Value, indices: list[Value | None]) -> Value:
    _integers_only(context, indices)
    if all(index is None for index in indices):
        return x
    rows = _rows(context, x, indices)
    found = context.emit("embedding", rows.table(context, x), rows.index)
    return context.permute(context.reshape(found, rows.chosen_shape), rows.result_order)


@lowers(aten.index_put.default, aten._unsafe_index_put.default)
def index_put(
    context: Context, x: Value, indices: list[Value | None], values: Value, accumulate: bool = False
) -> Value:
    if any(index is not None and index.type.dtype is DType.BOOL for index in indices):
        context.refuse("writing by a mask beside other indices", "write torch.where(mask, values, x)")
    rows = _rows(context, x, indices)
    shape = tuple(rows.chosen_shape[axis] for axis in rows.result_order)
    spread = context.expand(context.cast(values, x.type.dtype), shape)
    back = tuple(rows.result_order.index(axis) for axis in range(len(shape)))
    count, features = rows.index.type.numel, rows.table_shape[1]
    source = context.reshape(context.permute(spread, back), (count, features))
    table, index = rows.table(context, x), context.reshape(rows.index, (count,))
    return rows.tensor(context, _written(context, table, index, source, accumulate))


def _written(context: Context, table: Value, index: Value, source: Value, accumulate: bool) -> Value:
    """The table with the source's rows written, or added, where the index says."""
    if not source.type.numel:
        return table
    if accumulate and table.type.dtype is not DType.BOOL:
        gradient = context.emit("embedding_gradient", source, index, rows=table.type.shape[0])
        return context.emit("add", table, gradient)
    column = context.expand(context.reshape(index, (index.type.numel, 1)), source.type.shape)
    return _scatter(context, "scatter_add" if accumulate else "scatter", table, column, source, 0)


def _scatter(context: Context, op: str, x: Value, index: Value, source: Value, dim: int) -> Value:
    """The scatter; a sum of truth values is true where any of them is, a product where all are."""
    if op == "scatter" or x.type.dtype is not DType.BOOL:
        return context.emit(op, x, index, source, dim=dim)
    op = {"scatter_add": "scatter_max", "scatter_mul": "scatter_min"}.get(op, op)
    numbers = context.emit(op, context.cast(x, DType.I32), index, context.cast(source, DType.I32), dim=dim)
    return context.emit("ne", numbers, context.scalar(0, DType.I32))


@lowers(aten.masked_scatter.default)
def masked_scatter(context: Context, x: Value, mask: Value, source: Value) -> Value:
    """Each chosen element takes the next one of the source: as many as are chosen before it come first."""
    chosen = context.expand(mask, context.shape)
    number = _place_among_chosen(context, chosen, source.type.numel)
    table = context.reshape(context.cast(source, context.dtype), (source.type.numel, 1))
    taken = context.reshape(context.emit("embedding", table, number), context.shape)
    return context.emit("where", chosen, taken, context.expand(x, context.shape))


@lowers(aten.masked_scatter_backward.default)
def masked_scatter_backward(context: Context, grad: Value, mask: Value, sizes: list[int]) -> Value:
    """The gradient of each chosen element, added where it came from; the others add zero."""
    chosen = context.expand(mask, grad.type.shape)
    count = math.prod(sizes)
    number = _place_among_chosen(context, chosen, count)
    added = context.emit("where", chosen, grad, context.scalar(0, grad.type.dtype))
    zeros = context.full((count,), 0, grad.type.dtype)
    total = context.emit("scatter_add", zeros, number, context.reshape(added, (grad.type.numel,)), dim=0)
    return context.reshape(total, tuple(sizes))


def _place_among_chosen(context: Context, chosen: Value, count: int) -> Value:
    """How many elements are chosen before each, in order, as indices of a table of `count` rows."""
    flat = context.reshape(chosen, (chosen.type.numel,))
    before = context.emit("cumsum", context.cast(flat, DType.I32), dim=0)
    number = context.emit("sub", before, context.scalar(1, DType.I32))
    number = context.emit("minimum", number, context.scalar(max(count - 1, 0), DType.I32))
    return context.emit("maximum", number, context.scalar(0, DType.I32))


@lowers(aten.put.default)
def put(context: Context, x: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    """Elements written, or added, by their place among all of the tensor's."""
    if not index.type.numel:
        return x
    flat, index, source = (context.reshape(value, (value.type.numel,)) for value in (x, index, source))
    op = "scatter_add" if accumulate else "scatter"
    return context.reshape(context.emit(op, flat, _wrapped(context, index, x.type.numel), source, dim=0), x.type.shape)


@lowers(aten.nonzero.default, aten.masked_select.default)
def data_dependent(context: Context, *_: object) -> Value:
    if context.meta().numel():
        context.refuse("the shape of the result depends on values", DATA_DEPENDENT)
    return context.full(context.shape, 0, context.dtype)


@lowers(aten.index_select.default)
def index_select(context: Context, x: Value, dim: int, index: Value) -> Value:
    if not x.type.rank:
        return context.reshape(x, context.shape)
    index = context.reshape(index, (index.type.numel,))
    return index_tensor(context, x, [*[None] * (dim % x.type.rank), index])  # type: ignore[return-value]


@lowers(aten.take.default)
def take(context: Context, x: Value, index: Value) -> Value:
    return index_tensor(context, context.reshape(x, (x.type.numel,)), [index])  # type: ignore[return-value]


@lowers(aten.gather.default)
def gather(context: Context, x: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Value:
    if not index.type.numel:
        return context.full(context.shape, 0, context.dtype)
    x, index = _at_least_one_axis(context, x), _at_least_one_axis(context, index)
    picked = context.emit("gather", x, _wrapped(context, index, x.type.shape[dim]), dim=dim % x.type.rank)
    return context.reshape(picked, context.shape)


@lowers(aten.scatter.src, aten.scatter.value, aten.scatter_add.default)
def scatter(context: Context, x: Value, dim: int, index: Value, source: Value | Scalar) -> Value:
    name = "scatter_add" if context.node.target is aten.scatter_add.default else "scatter"
    return _scattered(context, name, x, dim, index, source)


REDUCTIONS = {"sum": "scatter_add", "add": "scatter_add", "prod": "scatter_mul", "multiply": "scatter_mul"}
REDUCTIONS |= {"amax": "scatter_max", "amin": "scatter_min"}


@lowers(aten.scatter.reduce, aten.scatter.value_reduce)
def scatter_with(context: Context, x: Value, dim: int, index: Value, source: Value | Scalar, *, reduce: str) -> Value:
    return _scattered(context, REDUCTIONS[reduce], x, dim, index, source)


@lowers(aten.scatter_reduce.two)
def scatter_reduce(
    context: Context, x: Value, dim: int, index: Value, source: Value, reduce: str, *, include_self: bool = True
) -> Value:
    """Without the tensor itself, what is written first gives way to the reduction's neutral element."""
    if not index.type.numel:
        return x
    start = x if include_self else _scattered(context, "scatter", x, dim, index, _neutral(reduce, x.type.dtype))
    if reduce != "mean":
        return _scattered(context, REDUCTIONS[reduce], start, dim, index, source)
    total = _scattered(context, "scatter_add", start, dim, index, source)
    own = context.full(x.type.shape, 1 if include_self else 0, x.type.dtype)
    count = _scattered(context, "scatter_add", own, dim, index, 1)
    count = context.emit("maximum", count, context.scalar(1, x.type.dtype))
    return context.emit("div" if x.type.dtype.is_float else "floor_div", total, count)


def _neutral(reduce: str, dtype: DType) -> Scalar:
    """What changes nothing when reduced with anything."""
    if dtype is DType.BOOL:
        return reduce in ("amin", "prod")
    largest = math.inf if dtype.is_float else 2**31 - 1
    return {"amax": -largest if dtype.is_float else -(2**31), "amin": largest, "prod": 1}.get(reduce, 0)


def _scattered(context: Context, op: str, x: Value, dim: int, index: Value, source: Value | Scalar) -> Value:
    """A scatter of the part of the source that the index covers."""
    if not index.type.numel:
        return x
    shape = x.type.shape
    x, index = _at_least_one_axis(context, x), _at_least_one_axis(context, index)
    if isinstance(source, Value):
        source = _at_least_one_axis(context, context.cast(source, x.type.dtype))
        for axis, extent in enumerate(index.type.shape):
            source = context.slice(source, axis, 0, extent)
    else:
        source = context.full(index.type.shape, source, x.type.dtype)
    written = _scatter(context, op, x, context.cast(index, DType.I32), source, dim % x.type.rank)
    return context.reshape(written, shape)


def _at_least_one_axis(context: Context, x: Value) -> Value:
    return x if x.type.rank else context.reshape(x, (1,))
