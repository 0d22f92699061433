"""Elementwise operators: one pipeline stage of the SIMD array per operation, operands broadcast as NumPy does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ir.kernels.blocks import block_of, blocks
from ir.op import Array, Cost, CostClass, Op, broadcast_shape, limit, op
from ir.ranges import Range, products
from ir.space import Space
from ir.types import DType, TensorType

BODY = Cost(CostClass.SIMD)
TAIL = Cost(CostClass.SIMD, tail=True)


class Elementwise(Op):
    """Operands of one element type, broadcast; the result has their type."""

    cost: ClassVar[Cost] = BODY
    any_layout: ClassVar[bool] = True
    is_elementwise: ClassVar[bool] = True

    def space(self, *operands: TensorType) -> Space:
        return Space.elementwise(operands, self.results(*operands)[0])


class Unary(Elementwise):
    """One operand; the result has its type."""

    def infer(self, x: TensorType) -> TensorType:
        return x


class Binary(Elementwise):
    """Two operands of one element type; the result has it too."""

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.dtype is not b.dtype:
            raise ValueError(f"operands {a} and {b} have different element types")
        return TensorType(a.dtype, broadcast_shape((a, b)))


class InBlocks(Elementwise):
    """An elementwise operator whose `compute` makes one block of the result.

    `temporaries` says what arrays of a block's shape it wants besides: true for one of the result's type, false for
    truth values.
    """

    temporaries: ClassVar[tuple[bool, ...]] = ()

    def scratch(self, *operands: TensorType) -> tuple[TensorType, ...]:
        block = block_of(self.results(*operands)[0])
        return tuple(block if is_number else block.with_dtype(DType.BOOL) for is_number in self.temporaries)

    def kernel(self, *arrays: Array) -> None:
        count = len(arrays) - len(self.temporaries)
        for block in blocks(arrays[:count], arrays[count:]):
            self.compute(*block)

    def compute(self, *arrays: Array) -> None:
        """Operands, the result, then temporary arrays."""
        raise ValueError(f"operator {self.name} does not compute blocks")


class NumberOnly(Op):
    """Arithmetic that integers have too."""

    @limit
    def numbers_only(self, *operands: TensorType) -> bool:
        "the operator takes floating-point or i32 tensors"
        return all(operand.dtype.is_float or operand.dtype is DType.I32 for operand in operands)


class FloatOnly(Op):
    """Arithmetic on floating-point numbers."""

    @limit
    def floats_only(self, *operands: TensorType) -> bool:
        "the operator takes floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


@op("add")
class Add(Binary, NumberOnly):
    """a + b"""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        return (a[0] + b[0], a[1] + b[1]) if a and b else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.add(a, b, out=out)


@op("sub")
class Sub(Binary, NumberOnly):
    """a - b"""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        return (a[0] - b[1], a[1] - b[0]) if a and b else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.subtract(a, b, out=out)


@op("mul")
class Mul(Binary, NumberOnly):
    """a * b"""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        return products(a, b) if a and b else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.multiply(a, b, out=out)


@op("div")
class Div(Binary, FloatOnly):
    """a / b"""

    cost = TAIL

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.divide(a, b, out=out)


@op("pow")
class Pow(Binary, FloatOnly):
    """a raised to the power b."""

    cost = Cost(CostClass.SIMD, operations=8, tail=True)

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        exponent = b.flat[0] if b.size and not any(b.strides) else None
        if exponent == 2:
            np.multiply(a, a, out=out)
        elif exponent == 3:
            np.multiply(a, a, out=out)
            np.multiply(out, a, out=out)
        elif exponent == 0.5:
            np.sqrt(a, out=out)
        else:
            np.power(a, b, out=out)


@op("maximum")
class Maximum(Binary, NumberOnly):
    """The larger of a and b; NaN where either is."""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        return (max(a[0], b[0]), max(a[1], b[1])) if a and b else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.maximum(a, b, out=out)


@op("minimum")
class Minimum(Binary, NumberOnly):
    """The smaller of a and b; NaN where either is."""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges
        return (min(a[0], b[0]), min(a[1], b[1])) if a and b else None

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.minimum(a, b, out=out)


@op("clamp")
class Clamp(Unary, FloatOnly):
    """x, but at least `low` and at most `high`, which wins where they cross."""

    low: float
    high: float
    cost = Cost(CostClass.SIMD, operations=2)

    def kernel(self, x: Array, out: Array) -> None:
        np.clip(x, self.low, self.high, out=out)

    @limit
    def bounds_are_numbers(self, x: TensorType) -> bool:
        "clamp's bounds are numbers or infinite"
        return not (math.isnan(self.low) or math.isnan(self.high))


@op("neg")
class Neg(Unary, NumberOnly):
    """-x"""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        (x,) = ranges
        return x and (-x[1], -x[0])

    def kernel(self, x: Array, out: Array) -> None:
        np.negative(x, out=out)


@op("abs")
class Abs(Unary, NumberOnly):
    """Absolute value."""

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        (x,) = ranges
        return x and (max(x[0], -x[1], 0), max(-x[0], x[1]))

    def kernel(self, x: Array, out: Array) -> None:
        np.absolute(x, out=out)


@op("sign")
class Sign(Unary, NumberOnly):
    """-1, 0 or 1, as x is negative, zero or positive; 0 for NaN."""

    cost = Cost(CostClass.SIMD, operations=2)

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return -1, 1

    def kernel(self, x: Array, out: Array) -> None:
        np.sign(x, out=out)
        if out.dtype.kind == "f":
            np.copyto(out, 0, where=np.not_equal(x, x))


@op("rsqrt")
class Rsqrt(Unary, FloatOnly):
    """1 / sqrt(x)"""

    cost = Cost(CostClass.SIMD, operations=2, tail=True)

    def kernel(self, x: Array, out: Array) -> None:
        np.sqrt(x, out=out)
        np.divide(1, out, out=out)


@op("cast")
class Cast(Elementwise):
    """The same numbers as another element type: to integers toward zero, to bool whether not zero."""

    dtype: DType

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0] if self.dtype is DType.I32 else None

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def kernel(self, x: Array, out: Array) -> None:
        if self.dtype is DType.BOOL:
            np.not_equal(x, 0, out=out)
        else:
            np.copyto(out, x, casting="unsafe")
