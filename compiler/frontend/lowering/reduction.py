"""ATen's reductions."""

from __future__ import annotations

import math
from typing import Any

import torch

from compiler.frontend.lowering.context import Context, Scalar, axes, lowers
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten
Dims = int | list[int] | None


@lowers(aten.sum.default, aten.sum.dim_IntList)
def sum_(context: Context, x: Value, dims: Dims = None, keepdim: bool = False, **_: Any) -> Value:
    x, reduced = context.cast(x, context.dtype), axes(dims, x.type.rank)
    total = context.arithmetic("sum", x, dims=reduced, keepdim=keepdim) if reduced else context.wrapped(x)
    return context.reshape(total, context.shape)


@lowers(aten.mean.default, aten.mean.dim)
def mean(context: Context, x: Value, dims: Dims = None, keepdim: bool = False, **_: Any) -> Value:
    return _mean(context, context.cast(x, context.dtype), axes(dims, x.type.rank), keepdim)


def _mean(context: Context, x: Value, dims: tuple[int, ...], keepdim: bool) -> Value:
    return context.scaled(context.sum(x, dims, keepdim), 1 / _count(x, dims))


def _count(x: Value, dims: tuple[int, ...]) -> int:
    """How many elements each sum adds up."""
    return math.prod(x.type.shape[dim] for dim in dims)


@lowers(aten.var.correction)
def var(
    context: Context, x: Value, dims: Dims = None, *, correction: Scalar | None = None, keepdim: bool = False
) -> Value:
    return var_mean(context, x, dims, correction=correction, keepdim=keepdim)[0]  # type: ignore[index, return-value]


@lowers(aten.var_mean.correction)
def var_mean(
    context: Context, x: Value, dims: Dims = None, *, correction: Scalar | None = None, keepdim: bool = False
) -> tuple[Value, ...]:
    """Variance and mean in two passes; `correction` is 1 where it is not given. With no more elements than it, the sum
    of squares is divided by zero: of one element, the variance is not a number."""
    reduced = axes(dims, x.type.rank)
    average = _mean(context, x, reduced, True)
    centered = context.emit("sub", x, average)
    squares = context.sum_square(centered, reduced, keepdim)
    count = _count(x, reduced) - (1 if correction is None else correction)
    return context.scaled(squares, 1 / count if count > 0 else math.inf), average if keepdim else context.reshape(
        average, squares.type.shape
    )


@lowers(aten.linalg_vector_norm.default)
def vector_norm(
    context: Context, x: Value, order: Scalar = 2, dims: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Value:
    """(sum |x|^order)^(1/order), whose limits are the largest and the smallest |x|, and the count of what is not 0."""
    x, reduced = context.cast(x, context.dtype), axes(dims, x.type.rank)
    if order == 2:
        return context.reshape(context.emit("sqrt", context.sum_square(x, reduced, keepdim)), context.shape)
    if order == 0:
        present = context.emit("ne", x, context.scalar(0, x.type.dtype))
        return context.reshape(context.sum(context.cast(present, x.type.dtype), reduced, keepdim), context.shape)
    size = context.emit("abs", x)
    if math.isinf(order):
        return _extremum(context, "amax" if order > 0 else "amin", size, list(reduced), keepdim)
    if order == 1:
        return context.reshape(context.sum(size, reduced, keepdim), context.shape)
    total = context.sum(context.emit("pow", size, context.scalar(order, x.type.dtype)), reduced, keepdim)
    return context.reshape(context.emit("pow", total, context.scalar(1 / order, x.type.dtype)), context.shape)


@lowers(aten.amax.default)
def amax(context: Context, x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    return _extremum(context, "amax", x, dims, keepdim)


@lowers(aten.amin.default)
def amin(context: Context, x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    return _extremum(context, "amin", x, dims, keepdim)


def _extremum(context: Context, op: str, x: Value, dims: Dims, keepdim: bool) -> Value:
    """Of truth values, whether any or all hold."""
    if not x.type.rank:
        return x
    if not x.type.numel and 0 in context.shape:
        return context.full(context.shape, 0, x.type.dtype)
    if x.type.dtype in (DType.BOOL, DType.I8):
        found = _extremum(context, op, context.cast(x, DType.I32), dims, keepdim)
        return (
            context.emit("ne", found, context.scalar(0, DType.I32))
            if x.type.dtype is DType.BOOL
            else context.cast(found, DType.I8)
        )
    return context.emit(op, x, dims=axes(dims, x.type.rank), keepdim=keepdim)


@lowers(aten.max.default)
def max_all(context: Context, x: Value) -> Value:
    return amax(context, x)  # type: ignore[return-value]


@lowers(aten.min.default)
def min_all(context: Context, x: Value) -> Value:
    return amin(context, x)  # type: ignore[return-value]


@lowers(aten.any.default, aten.any.dim, aten.any.dims)
def any_(context: Context, x: Value, dims: Dims = None, keepdim: bool = False) -> Value:
    """Whether the number of elements that are not zero is above zero."""
    holds = x if x.type.dtype is DType.BOOL else context.emit("ne", x, context.scalar(0, x.type.dtype))
    count = context.sum(context.cast(holds, DType.I32), axes(dims, x.type.rank), keepdim)
    return context.emit("gt", count, context.scalar(0, DType.I32))


@lowers(aten._softmax.default)
def softmax(context: Context, x: Value, dim: int, half_to_float: bool = False) -> Value:
    return _along(context, "softmax", context.cast(x, context.dtype), dim=dim)


@lowers(aten._log_softmax.default)
def log_softmax(context: Context, x: Value, dim: int, half_to_float: bool = False) -> Value:
    return _along(context, "log_softmax", context.cast(x, context.dtype), dim=dim)


@lowers(aten._softmax_backward_data.default)
def softmax_backward(context: Context, grad: Value, y: Value, dim: int, dtype: torch.dtype) -> Value:
    return context.cast(_along(context, "softmax_backward", grad, y, dim=dim), context.dtype)


@lowers(aten._log_softmax_backward_data.default)
def log_softmax_backward(context: Context, grad: Value, y: Value, dim: int, dtype: torch.dtype) -> Value:
    return context.cast(_along(context, "log_softmax_backward", grad, y, dim=dim), context.dtype)


def _along(context: Context, op: str, *operands: Value, dim: int) -> Value:
    """An operator along one axis; a scalar is a tensor of one element."""
    if not operands[0].type.numel:
        return context.full(context.shape, 0, operands[0].type.dtype)
    lines = [context.reshape(operand, operand.type.shape or (1,)) for operand in operands]
    return context.reshape(context.emit(op, *lines, dim=dim % lines[0].type.rank), context.shape)
