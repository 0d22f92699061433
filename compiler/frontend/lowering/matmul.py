"""ATen's matrix products."""

from __future__ import annotations

import torch

from compiler.frontend.lowering.context import Context, Scalar, lowers
from ir.graph import Value

aten = torch.ops.aten


@lowers(aten.mm.default, aten.bmm.default)
def matmul(context: Context, a: Value, b: Value) -> Value:
    return context.emit("matmul", a, b, dtype=context.dtype)


@lowers(aten.addmm.default, aten.baddbmm.default)
def addmm(context: Context, bias: Value, a: Value, b: Value, *, beta: Scalar = 1, alpha: Scalar = 1) -> Value:
    product = context.scaled(context.emit("matmul", a, b, dtype=context.dtype), alpha)
    if not beta:  # PyTorch then reads no bias, which may hold NaN
        return product
    return context.emit("add", product, context.scaled(bias, beta))


@lowers(aten.mv.default)
def mv(context: Context, a: Value, x: Value) -> Value:
    column = context.emit("matmul", a, context.reshape(x, (x.type.numel, 1)), dtype=context.dtype)
    return context.reshape(column, context.shape)


@lowers(aten.dot.default)
def dot(context: Context, x: Value, y: Value) -> Value:
    row, column = context.reshape(x, (1, x.type.numel)), context.reshape(y, (y.type.numel, 1))
    return context.reshape(context.emit("matmul", row, column, dtype=context.dtype), ())
