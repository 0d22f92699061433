"""ATen's reading and writing by index tensors. Several indices become one, into one axis that merges theirs."""

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
class _Slices:
    """How indices choose slices of a tensor along one axis, into which the indexed axes are merged.

    order: the tensor's axes with the indexed ones side by side.   dim: where those begin.   extents: theirs.
    index: the numbers of the slices, in the indices' common shape.
    """

    order: tuple[int, ...]
    dim: int
    extents: tuple[int, ...]
    index: Value

    @property
    def extent(self) -> int:
        """How many slices there are."""
        return math.prod(self.extents)

    def merged(self, context: Context, x: Value) -> Value:
        """The tensor with one axis in place of the indexed ones."""
        moved = context.permute(x, self.order)
        shape = moved.type.shape
        return context.reshape(moved, (*shape[: self.dim], self.extent, *shape[self.dim + len(self.extents) :]))

    def apart(self, context: Context, merged: Value) -> Value:
        """The tensor of which `merged` is the form with merged axes."""
        shape = merged.type.shape
        moved = context.reshape(merged, (*shape[: self.dim], *self.extents, *shape[self.dim + 1 :]))
        return context.permute(moved, tuple(self.order.index(axis) for axis in range(len(self.order))))

    def chosen_shape(self, merged: Value) -> tuple[int, ...]:
        """The shape of all chosen slices together."""
        shape = merged.type.shape
        return (*shape[: self.dim], *self.index.type.shape, *shape[self.dim + 1 :])


def _slices(context: Context, x: Value, indices: list[Value | None]) -> _Slices:
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    shape = tuple(np.broadcast_shapes(*(index.type.shape for index in given)))
    adjacent = axes == list(range(axes[0], axes[-1] + 1))
    others = [axis for axis in range(x.type.rank) if axis not in axes]
    extents = tuple(x.type.shape[axis] for axis in axes)
    number: Value | None = None
    for index, extent in zip(given, extents):
        wrapped = _wrapped(context, index, extent) if len(axes) == 1 else _inside(context, index, extent)
        number = wrapped if number is None else _combined(context, number, extent, wrapped)
    assert number is not None
    order = tuple(range(x.type.rank)) if adjacent else (*axes, *others)
    return _Slices(order, axes[0] if adjacent else 0, extents, context.expand(number, shape))


def _wrapped(context: Context, index: Value, extent: int) -> Value:
    """The index with negative ones counted from the end."""
    known = context.known(index)
    if known is not None:
        return index if known.min(initial=0) >= 0 else context.constant(np.where(known < 0, known + extent, known))
    return context.emit("wrap_index", context.cast(index, DType.I32), extent=extent)


def _inside(context: Context, index: Value, extent: int) -> Value:
    """The same, checked to lie within the axis where it is known: beside another index, one outside would name an
    element of another row."""
    known = context.known(index)
    if known is not None and known.size and not -extent <= known.min() <= known.max() < extent:
        context.refuse(f"an index is outside the {extent} elements of its axis", f"use indices below {extent}")
    return _wrapped(context, index, extent)


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
    slices = _slices(context, x, indices)
    return context.emit("index_select", slices.merged(context, x), slices.index, dim=slices.dim)


@lowers(aten.index_put.default, aten._unsafe_index_put.default)
def index_put(
    context: Context, x: Value, indices: list[Value | None], values: Value, accumulate: bool = False
) -> Value:
    if any(index is not None and index.type.dtype is DType.BOOL for index in indices):
        context.refuse("writing by a mask beside other indices is not supported", "write torch.where(mask, values, x)")
    slices = _slices(context, x, indices)
    merged = slices.merged(context, x)
    source = context.expand(context.cast(values, x.type.dtype), slices.chosen_shape(merged))
    return slices.apart(context, _written(context, merged, slices, source, accumulate))


def _written(context: Context, x: Value, slices: _Slices, source: Value, accumulate: bool) -> Value:
    """x with the slices of the source written, or added, where the index says."""
    if not source.type.numel:
        return x
    dim, count = slices.dim, slices.index.type.numel
    if accumulate and x.type.dtype is not DType.BOOL:
        added = context.arithmetic("index_add", source, slices.index, dim=dim, extent=slices.extent)
        return context.arithmetic("add", x, added)
    shape = (*x.type.shape[:dim], count, *x.type.shape[dim + 1 :])
    index = context.reshape(slices.index, (count, *[1] * (x.type.rank - dim - 1)))
    op = "scatter_add" if accumulate else "scatter"
    return _scatter(context, op, x, context.expand(index, shape), context.reshape(source, shape), dim)


def _scatter(context: Context, op: str, x: Value, index: Value, source: Value, dim: int) -> Value:
    """The scatter; a sum of truth values is true where any of them is, a product where all are."""
    if op == "scatter" or x.type.dtype is not DType.BOOL:
        return context.arithmetic(op, x, index, source, dim=dim)
    op = {"scatter_add": "scatter_max", "scatter_mul": "scatter_min"}.get(op, op)
    numbers = context.emit(op, context.cast(x, DType.I32), index, context.cast(source, DType.I32), dim=dim)
    return context.emit("ne", numbers, context.scalar(0, DType.I32))


@lowers(aten.masked_scatter.default)
def masked_scatter(context: Context, x: Value, mask: Value, source: Value) -> Value:
    """Each chosen element takes the next one of the source: as many as are chosen before it come first."""
    chosen = context.expand(mask, context.shape)
    number = _place_among_chosen(context, chosen, source.type.numel)
    table = context.reshape(context.cast(source, context.dtype), (source.type.numel, 1))
    taken = context.reshape(context.emit("index_select", table, number, dim=0), context.shape)
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
    written = context.arithmetic(op, flat, _wrapped(context, index, x.type.numel), source, dim=0)
    return context.reshape(written, x.type.shape)


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
