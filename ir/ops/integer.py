"""Division with a whole quotient, and bits of integers."""

from __future__ import annotations

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.elementwise import TAIL, Binary, FloatOnly, NumberOnly, Unary
from ir.types import DType, TensorType


class BitsOnly(Op):
    """Arithmetic on the bits of integers."""

    @limit
    def integers_only(self, *operands: TensorType) -> bool:
        "the operator takes i32 or i8 tensors"
        return all(operand.dtype in (DType.I32, DType.I8) for operand in operands)


@op("floor_div")
class FloorDiv(Binary, NumberOnly):
    """The largest whole number not above a / b."""

    cost = TAIL

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.floor_divide(a, b, out=out)


@op("remainder")
class Remainder(Binary, NumberOnly):
    """What a / b leaves, with the sign of b: a - b * floor(a / b)."""

    cost = TAIL

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.remainder(a, b, out=out)


@op("fmod")
class Fmod(Binary, NumberOnly):
    """What a / b leaves, with the sign of a: a - b * trunc(a / b)."""

    cost = TAIL

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.fmod(a, b, out=out)


@op("atan2")
class Atan2(Binary, FloatOnly):
    """The angle of the point (b, a) from the first axis, between -pi and pi."""

    cost = Cost(CostClass.SIMD, operations=4, tail=True)

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.arctan2(a, b, out=out)


@op("bitwise_and")
class BitwiseAnd(Binary, BitsOnly):
    """The bits that both a and b have."""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.bitwise_and(a, b, out=out)


@op("bitwise_or")
class BitwiseOr(Binary, BitsOnly):
    """The bits that a or b has."""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.bitwise_or(a, b, out=out)


@op("bitwise_xor")
class BitwiseXor(Binary, BitsOnly):
    """The bits that only one of a and b has."""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.bitwise_xor(a, b, out=out)


@op("bitwise_not")
class BitwiseNot(Unary, BitsOnly):
    """The bits that x does not have."""

    def kernel(self, x: Array, out: Array) -> None:
        np.invert(x, out=out)


@op("shift_left")
class ShiftLeft(Binary, BitsOnly):
    """a's bits moved up by b places."""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.left_shift(a, b, out=out)


@op("shift_right")
class ShiftRight(Binary, BitsOnly):
    """a's bits moved down by b places, the sign kept."""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.right_shift(a, b, out=out)
