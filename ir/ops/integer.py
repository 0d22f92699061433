"""Division with a whole quotient, and bits of integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.elementwise import TAIL, Binary, FloatOnly, NumberOnly, Unary
from ir.ranges import Range, is_within, products
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

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        return (min(a[0], 0), max(a[1], 0)) if a and b and b[0] > 0 else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.floor_divide(a, b, out=out)


@op("remainder")
class Remainder(Binary, NumberOnly):
    """What a / b leaves, with the sign of b: a - b * floor(a / b)."""

    cost = TAIL

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        by = ranges[1]
        return (0, by[1] - 1) if by and by[0] > 0 else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.remainder(a, b, out=out)


@op("fmod")
class Fmod(Binary, NumberOnly):
    """What a / b leaves, with the sign of a: a - b * trunc(a / b)."""

    cost = TAIL

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0] and (min(ranges[0][0], 0), max(ranges[0][1], 0))

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

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        highs = [one[1] for one in ranges if one and one[0] >= 0]
        return (0, min(highs)) if highs else None

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

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        (x,) = ranges
        return x and (-x[1] - 1, -x[0] - 1)

    def kernel(self, x: Array, out: Array) -> None:
        np.invert(x, out=out)


@op("shift_left")
class ShiftLeft(Binary, BitsOnly):
    """a's bits moved up by b places."""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        if not a or not b or not is_within(b, (0, 31)):
            return None
        return products(a, (1 << b[0], 1 << b[1]))

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.left_shift(a, b, out=out)


@op("shift_right")
class ShiftRight(Binary, BitsOnly):
    """a's bits moved down by b places, the sign kept."""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a = ranges[0]
        return a and (min(a[0], -1 if a[0] < 0 else 0), max(a[1], -1 if a[1] < 0 else 0))

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.right_shift(a, b, out=out)
