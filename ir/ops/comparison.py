"""Comparisons, logic, and the choice by a condition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ir.kernels.mask import select
from ir.op import Array, Op, broadcast_shape, limit, op
from ir.ops.elementwise import Binary, InBlocks, Unary
from ir.ranges import Range, hull
from ir.types import DType, TensorType


class Comparison(Binary):
    """Two operands of one element type; the result is bool."""

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return super().infer(a, b).with_dtype(DType.BOOL)


class BoolOnly(Op):
    """Logic on truth values."""

    @limit
    def bools_only(self, *operands: TensorType) -> bool:
        "the operator takes bool tensors"
        return all(operand.dtype is DType.BOOL for operand in operands)


@op("eq")
class Eq(Comparison):
    """a == b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.equal(a, b, out=out)


@op("ne")
class Ne(Comparison):
    """a != b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.not_equal(a, b, out=out)


@op("lt")
class Lt(Comparison):
    """a < b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.less(a, b, out=out)


@op("le")
class Le(Comparison):
    """a <= b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.less_equal(a, b, out=out)


@op("gt")
class Gt(Comparison):
    """a > b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.greater(a, b, out=out)


@op("ge")
class Ge(Comparison):
    """a >= b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.greater_equal(a, b, out=out)


@op("logical_and")
class LogicalAnd(Binary, BoolOnly):
    """a and b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.logical_and(a, b, out=out)


@op("logical_or")
class LogicalOr(Binary, BoolOnly):
    """a or b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.logical_or(a, b, out=out)


@op("logical_not")
class LogicalNot(Unary, BoolOnly):
    """not x"""

    def kernel(self, x: Array, out: Array) -> None:
        np.logical_not(x, out=out)


@op("where")
class Where(InBlocks):
    """a where the condition holds, else b."""

    temporaries = (True,)

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        a, b = ranges[1:]
        return hull((a, b)) if a and b else None

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        if condition.dtype is not DType.BOOL:
            raise ValueError(f"the condition {condition} is not bool")
        if a.dtype is not b.dtype:
            raise ValueError(f"operands {a} and {b} have different element types")
        return TensorType(a.dtype, broadcast_shape((condition, a, b)))

    def compute(self, condition: Array, a: Array, b: Array, out: Array, difference: Array) -> None:
        if condition.size and not any(condition.strides):
            np.copyto(out, a if condition[(0,) * condition.ndim] else b)
            return
        select(condition, a, b, out, difference)
