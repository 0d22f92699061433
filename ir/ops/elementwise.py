"""Elementwise operators: one pipeline stage of the SIMD array each, operands broadcast as NumPy does."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ir.op import Array, Cost, CostClass, Op, broadcast_shape, limit, op
from ir.space import Space
from ir.types import DType, TensorType

BODY = Cost(CostClass.SIMD)
TAIL = Cost(CostClass.SIMD, tail=True)


class Elementwise(Op):
    """Operands of one element type, broadcast; the result has their type."""

    cost: ClassVar[Cost] = BODY

    def infer(self, *operands: TensorType) -> TensorType:
        dtypes = {operand.dtype for operand in operands}
        if len(dtypes) > 1:
            raise ValueError(f"operands have different element types: {', '.join(map(str, operands))}")
        return TensorType(dtypes.pop(), broadcast_shape(operands))

    def space(self, *operands: TensorType) -> Space:
        return Space.elementwise(operands, self.infer(*operands))


class FloatElementwise(Elementwise):
    """An elementwise operator on floating-point operands."""

    @limit
    def float_only(self, *operands: TensorType) -> bool:
        "the operator takes floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


class Comparison(Elementwise):
    """Two operands of one element type; the result is bool."""

    def infer(self, *operands: TensorType) -> TensorType:
        return super().infer(*operands).with_dtype(DType.BOOL)


@op("add")
class Add(Elementwise):
    """a + b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.add(a, b, out=out)


@op("sub")
class Sub(Elementwise):
    """a - b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.subtract(a, b, out=out)


@op("mul")
class Mul(Elementwise):
    """a * b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.multiply(a, b, out=out)


@op("div")
class Div(FloatElementwise):
    """a / b"""

    cost = TAIL

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.divide(a, b, out=out)


@op("tanh")
class Tanh(FloatElementwise):
    """Hyperbolic tangent."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.tanh(x, out=out)
