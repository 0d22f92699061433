"""ATen's divisions with whole quotients, and its bitwise operators."""

from __future__ import annotations

from functools import partial

import torch

from compiler.frontend.lowering.context import LOWERINGS, Context, Operand, lowers
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten

BITWISE = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "ne",
}
"""ATen's operator, which is ours for integers, and what it is for truth values."""

SHIFTS = {"bitwise_left_shift": "shift_left", "bitwise_right_shift": "shift_right"}


def _bitwise(name: str, context: Context, x: Operand, y: Operand) -> Value:
    return context.apply(BITWISE[name] if context.dtype is DType.BOOL else name, x, y)


def _shift(name: str, context: Context, x: Operand, y: Operand) -> Value:
    return context.apply(SHIFTS[name], x, y)


for _names, _rule in ((BITWISE, _bitwise), (SHIFTS, _shift)):
    for _name in _names:
        for _overload in ("Tensor", "Scalar", "Scalar_Tensor", "Tensor_Scalar"):
            if _overload in getattr(aten, _name).overloads():
                LOWERINGS[getattr(getattr(aten, _name), _overload)] = partial(_rule, _name)


@lowers(aten.bitwise_not.default)
def bitwise_not(context: Context, x: Value) -> Value:
    return context.emit("logical_not" if x.type.dtype is DType.BOOL else "bitwise_not", x)


@lowers(aten.div.Tensor_mode, aten.div.Scalar_mode)
def div_rounded(context: Context, x: Operand, y: Operand, *, rounding_mode: str | None) -> Value:
    if rounding_mode is None:
        return context.apply("div", x, y)
    if rounding_mode == "floor":
        return context.apply("floor_div", x, y)
    if context.dtype.is_float:
        return context.emit("trunc", context.apply("div", x, y))
    divisible = context.apply("sub", x, context.apply("fmod", x, y))
    return context.apply("floor_div", divisible, y)


@lowers(aten.floor_divide.default, aten.floor_divide.Scalar)
def floor_divide(context: Context, x: Operand, y: Operand) -> Value:
    return context.apply("floor_div", x, y)


@lowers(aten.remainder.Tensor, aten.remainder.Scalar, aten.remainder.Scalar_Tensor)
def remainder(context: Context, x: Operand, y: Operand) -> Value:
    return context.apply("remainder", x, y)


@lowers(aten.fmod.Tensor, aten.fmod.Scalar)
def fmod(context: Context, x: Operand, y: Operand) -> Value:
    return context.apply("fmod", x, y)


@lowers(aten.atan2.default)
def atan2(context: Context, x: Operand, y: Operand) -> Value:
    return context.apply("atan2", x, y)
