"""Grouped matrix products, which mixtures of experts are made of: rows in the order of their experts."""

from __future__ import annotations

import numpy as np
import torch

from compiler.frontend.lowering.context import Context, lowers, lowers_named
from compiler.frontend.lowering.matmul import matmul
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten


@lowers(aten._grouped_mm.default)
def grouped_mm(
    context: Context,
    a: Value,
    b: Value,
    offsets: Value | None = None,
    bias: Value | None = None,
    out_dtype: torch.dtype | None = None,
) -> Value:
    """Of [(e), m, k] and [(e), k, n], the offsets cut an axis of those that have no e into groups, one for each e."""
    if bias is not None:
        context.refuse("a grouped product with a bias is not supported", "add the bias to the product")
    if offsets is None:
        return matmul(context, a, b)  # type: ignore[return-value]
    if b.type.rank == 3 and a.type.rank == 2:
        return _rows_by_matrices(context, a, b, offsets)
    if a.type.rank == 3:  # columns of b belong to groups: the transposed product's rows
        turned = _rows_by_matrices(context, context.transpose(b), context.transpose(a), offsets)
        return context.transpose(turned)
    return _outer(context, context.transpose(a), b, offsets)


@lowers_named("transformers::grouped_mm_fallback")
def grouped_mm_fallback(context: Context, x: Value, w: Value, offsets: Value) -> Value:
    """What the transformers library calls while it is traced."""
    return _rows_by_matrices(context, x, w, offsets)


@lowers_named("transformers::grouped_mm_fallback_backward")
def grouped_mm_fallback_backward(
    context: Context, x: Value, w: Value, offsets: Value, grad: Value
) -> tuple[Value, Value]:
    return (
        _rows_by_matrices(context, grad, context.transpose(w), offsets),
        _outer(context, x, grad, offsets),
    )


def _rows_by_matrices(context: Context, x: Value, w: Value, offsets: Value) -> Value:
    group = _group_of_each(context, x.type.shape[0], offsets)
    return context.emit("grouped_matmul", x, w, group, dtype=context.dtype)


def _outer(context: Context, x: Value, dy: Value, offsets: Value) -> Value:
    group = _group_of_each(context, x.type.shape[0], offsets)
    return context.emit("grouped_outer", x, dy, group, groups=offsets.type.numel, dtype=context.dtype)


def _group_of_each(context: Context, rows: int, offsets: Value) -> Value:
    """How many groups end before each row; a row after all of them belongs to none."""
    place = context.constant(np.arange(rows, dtype=np.int32).reshape(rows, 1), "constant.rows")
    ends = context.reshape(context.cast(offsets, DType.I32), (1, offsets.type.numel))
    return context.sum(context.cast(context.emit("le", ends, place), DType.I32), (1,))
