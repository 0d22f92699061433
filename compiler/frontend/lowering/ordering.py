"""ATen's sorting, running results, and the places of extrema."""

from __future__ import annotations

import torch

from compiler.frontend.lowering.context import Context, Scalar, lowers
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten


def _line(context: Context, x: Value) -> Value:
    """A scalar as a tensor of one element; truth values as integers."""
    x = context.cast(x, DType.I32) if x.type.dtype in (DType.BOOL, DType.I8) else x
    return x if x.type.rank else context.reshape(x, (1,))


def _sorted(context: Context, x: Value, dim: int, descending: bool) -> tuple[Value, Value]:
    dtype, line = x.type.dtype, _line(context, x)
    values, index = context.emit_all("sort", line, dim=dim % line.type.rank, descending=descending)
    return _back(context, values, dtype), index


def _back(context: Context, x: Value, dtype: DType) -> Value:
    """In the element type it came in."""
    if dtype is DType.BOOL and x.type.dtype is not DType.BOOL:
        return context.emit("ne", x, context.scalar(0, x.type.dtype))
    return context.cast(x, dtype)


@lowers(aten.sort.default)
def sort(context: Context, x: Value, dim: int = -1, descending: bool = False) -> tuple[Value, ...]:
    values, index = _sorted(context, x, dim, descending)
    return context.reshape(values, context.shape), context.reshape(index, context.shape)


@lowers(aten.sort.stable)
def sort_stable(
    context: Context, x: Value, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Value, ...]:
    return sort(context, x, dim, descending)  # type: ignore[return-value]


@lowers(aten.topk.default)
def topk(
    context: Context, x: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Value, ...]:
    if not k:
        return context.full(context.shape, 0, x.type.dtype), context.full(context.shape, 0, DType.I32)
    line = _line(context, x)
    values, index = context.emit_all("topk", line, k=k, dim=dim % line.type.rank, largest=largest)
    return context.reshape(_back(context, values, x.type.dtype), context.shape), context.reshape(index, context.shape)


@lowers(aten.kthvalue.default)
def kthvalue(context: Context, x: Value, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Value, ...]:
    values, index = _sorted(context, x, dim, False)
    dim %= values.type.rank
    return tuple(context.reshape(context.slice(found, dim, k - 1, k), context.shape) for found in (values, index))


@lowers(aten.median.default)
def median(context: Context, x: Value) -> Value:
    """The lower one of two in the middle; NaN, which is sorted last, where there is one."""
    return median_along(context, context.reshape(x, (x.type.numel,)), 0)[0]  # type: ignore[index, return-value]


@lowers(aten.median.dim)
def median_along(context: Context, x: Value, dim: int, keepdim: bool = False) -> tuple[Value, ...]:
    values, index = _sorted(context, x, dim, False)
    dim %= values.type.rank
    extent = values.type.shape[dim]
    middle = [context.slice(found, dim, (extent - 1) // 2, (extent - 1) // 2 + 1) for found in (values, index)]
    if x.type.dtype.is_float:
        last = context.slice(values, dim, extent - 1, extent)
        is_nan = context.emit("ne", last, last)
        first_nan = context.emit(
            "argmax", context.cast(_nan_mask(context, _line(context, x)), DType.I32), dim=dim, keepdim=True
        )
        middle = [context.emit("where", is_nan, bad, good) for bad, good in zip((last, first_nan), middle)]
    return tuple(context.reshape(found, context.shape) for found in middle)


def _nan_mask(context: Context, x: Value) -> Value:
    return context.emit("ne", x, x)


@lowers(aten.cumsum.default)
def cumsum(context: Context, x: Value, dim: int, *, dtype: torch.dtype | None = None) -> Value:
    return _scan(context, "cumsum", x, dim)


@lowers(aten.cumprod.default)
def cumprod(context: Context, x: Value, dim: int, *, dtype: torch.dtype | None = None) -> Value:
    return _scan(context, "cumprod", x, dim)


@lowers(aten.logcumsumexp.default)
def logcumsumexp(context: Context, x: Value, dim: int) -> Value:
    return _scan(context, "logcumsumexp", x, dim)


def _scan(context: Context, op: str, x: Value, dim: int) -> Value:
    x = context.cast(x, context.dtype)
    return x if not x.type.rank else context.arithmetic(op, x, dim=dim % x.type.rank)


@lowers(aten.cummax.default)
def cummax(context: Context, x: Value, dim: int) -> tuple[Value, ...]:
    return _running(context, "cummax", x, dim)


@lowers(aten.cummin.default)
def cummin(context: Context, x: Value, dim: int) -> tuple[Value, ...]:
    return _running(context, "cummin", x, dim)


def _running(context: Context, op: str, x: Value, dim: int) -> tuple[Value, ...]:
    line = _line(context, x)
    values, index = context.emit_all(op, line, dim=dim % line.type.rank)
    return context.reshape(_back(context, values, x.type.dtype), context.shape), context.reshape(index, context.shape)


@lowers(aten.max.dim)
def max_dim(context: Context, x: Value, dim: int, keepdim: bool = False) -> tuple[Value, ...]:
    return _extremum(context, "amax", x, dim, keepdim)


@lowers(aten.min.dim)
def min_dim(context: Context, x: Value, dim: int, keepdim: bool = False) -> tuple[Value, ...]:
    return _extremum(context, "amin", x, dim, keepdim)


def _extremum(context: Context, op: str, x: Value, dim: int, keepdim: bool) -> tuple[Value, ...]:
    line = _line(context, x)
    dim %= line.type.rank
    found = context.emit(op, line, dims=(dim,), keepdim=keepdim)
    place = _place(context, line, dim, keepdim, op == "amin")
    return context.reshape(_back(context, found, x.type.dtype), context.shape), context.reshape(place, context.shape)


def _place(context: Context, x: Value, dim: int, keepdim: bool, smallest: bool) -> Value:
    """The index of the first largest, or smallest, element; of the first NaN where there is one."""
    if smallest:  # the complement of an integer and the negative of a float are in the opposite order
        x = context.emit("neg" if x.type.dtype.is_float else "bitwise_not", x)
    return context.emit("argmax", x, dim=dim, keepdim=keepdim)


@lowers(aten.argmax.default, aten.argmin.default)
def argmax(context: Context, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    x = _line(context, x) if dim is not None else _line(context, context.reshape(x, (x.type.numel,)))
    smallest = context.node.target is aten.argmin.default
    return context.reshape(_place(context, x, (dim or 0) % x.type.rank, keepdim, smallest), context.shape)


@lowers(aten.prod.default)
def prod(context: Context, x: Value, **_: object) -> Value:
    x = context.cast(x, context.dtype)
    return context.arithmetic("prod", x, dims=tuple(range(x.type.rank)), keepdim=False) if x.type.rank else x


@lowers(aten.prod.dim_int)
def prod_dim(context: Context, x: Value, dim: int, keepdim: bool = False, **_: Scalar) -> Value:
    x = context.cast(x, context.dtype)
    return context.arithmetic("prod", x, dims=(dim % x.type.rank,), keepdim=keepdim) if x.type.rank else x
