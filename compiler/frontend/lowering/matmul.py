"""ATen's matrix products."""

from __future__ import annotations

import torch

from compiler.frontend.lowering.context import Context, Scalar, lowers
from ir.graph import Value

aten = torch.ops.aten


@lowers(aten.mm.default, aten.bmm.default)
def matmul(context: Context, a: Value, b: Value) -> Value:
    if context.meta().dtype is torch.int64:
        return context.emit("checked_matmul", a, b)
    return context.wrapped(context.emit("matmul", a, b, dtype=context.dtype))


@lowers(aten.addmm.default, aten.baddbmm.default)
def addmm(context: Context, bias: Value, a: Value, b: Value, *, beta: Scalar = 1, alpha: Scalar = 1) -> Value:
    product = _scaled(context, matmul(context, a, b), alpha)  # type: ignore[arg-type]
    if not beta:  # PyTorch then reads no bias, which may hold NaN
        return product
    return context.arithmetic("add", product, _scaled(context, bias, beta))


def _scaled(context: Context, x: Value, factor: Scalar) -> Value:
    """x times a number."""
    return x if factor == 1 else context.arithmetic("mul", x, context.scalar(factor, x.type.dtype))


@lowers(aten.mv.default)
def mv(context: Context, a: Value, x: Value) -> Value:
    column = matmul(context, a, context.reshape(x, (x.type.numel, 1)))
    return context.reshape(column, context.shape)  # type: ignore[arg-type]


@lowers(aten.dot.default)
def dot(context: Context, x: Value, y: Value) -> Value:
    row, column = context.reshape(x, (1, x.type.numel)), context.reshape(y, (y.type.numel, 1))
    return context.reshape(matmul(context, row, column), ())  # type: ignore[arg-type]
