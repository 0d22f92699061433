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

SHIFTS = {
    "bitwise_left_shift": "shift_left",
    "bitwise_right_shift": "shift_right",
    "__lshift__": "shift_left",
    "__rshift__": "shift_right",
}


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
    return context.arithmetic("logical_not" if x.type.dtype is DType.BOOL else "bitwise_not", x)


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


def whole_power(context: Context, x: Operand, exponent: Operand) -> Value:
    """A power of integers, by squaring."""
    if isinstance(exponent, Value) and context.meta().dtype is torch.int64:
        return context.apply("pow", x, exponent)
    if isinstance(exponent, Value):
        return _power_by_bits(context, context.cast(x, context.dtype), context.cast(exponent, context.dtype))
    square = context.cast(x, context.dtype)
    result = context.full(square.type.shape, 1, context.dtype)
    number = int(exponent)
    while number:
        result = context.arithmetic("mul", result, square) if number % 2 else result
        number //= 2
        square = context.arithmetic("mul", square, square) if number else square
    return result


EXPONENT_BITS = 5
"""Enough for every power that fits 32 bits: greater exponents leave only 0, 1 and -1 within them."""


def _power_by_bits(context: Context, x: Value, exponent: Value) -> Value:
    """Squares of x multiplied where the exponent has their bit; a negative exponent leaves what is 1 or -1."""

    def number(value: int) -> Value:
        return context.scalar(value, context.dtype)

    one, most = number(1), 2**EXPONENT_BITS - 2
    parity = context.emit("bitwise_and", exponent, one)
    small = context.emit("le", exponent, number(most + 1))
    bits = context.emit("where", small, exponent, context.emit("add", parity, number(most)))
    result, square = context.expand(one, context.shape), x
    for bit in range(EXPONENT_BITS):
        has_bit = context.emit("ne", context.emit("bitwise_and", bits, number(2**bit)), number(0))
        result = context.emit("where", has_bit, context.emit("mul", result, square), result)
        square = context.emit("mul", square, square)
    is_unit = context.emit("eq", context.emit("abs", x), one)
    inverse = context.emit("where", is_unit, result, number(0))
    return context.wrapped(context.emit("where", context.emit("lt", exponent, number(0)), inverse, result))
