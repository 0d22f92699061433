"""Elementwise operators: one pipeline stage of the SIMD array per operation, operands broadcast as NumPy does."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ir.op import Array, Cost, CostClass, Op, broadcast_shape, limit, op
from ir.ops.mask import keep, select
from ir.space import Space
from ir.types import DType, TensorType

BODY = Cost(CostClass.SIMD)
TAIL = Cost(CostClass.SIMD, tail=True)


class Elementwise(Op):
    """Operands of one element type, broadcast; the result has their type."""

    cost: ClassVar[Cost] = BODY
    any_layout: ClassVar[bool] = True

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


class Comparison(Binary):
    """Two operands of one element type; the result is bool."""

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return super().infer(a, b).with_dtype(DType.BOOL)


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


class BoolOnly(Op):
    """Logic on truth values."""

    @limit
    def bools_only(self, *operands: TensorType) -> bool:
        "the operator takes bool tensors"
        return all(operand.dtype is DType.BOOL for operand in operands)


class FloatGradient(Binary, FloatOnly):
    """The gradient of an activation: of its result, then what the forward operator left behind."""

    def scratch(self, dy: TensorType, saved: TensorType) -> tuple[TensorType, ...]:
        return (self.infer(dy, saved),)


@op("add")
class Add(Binary, NumberOnly):
    """a + b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.add(a, b, out=out)


@op("sub")
class Sub(Binary, NumberOnly):
    """a - b"""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.subtract(a, b, out=out)


@op("mul")
class Mul(Binary, NumberOnly):
    """a * b"""

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

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.maximum(a, b, out=out)


@op("minimum")
class Minimum(Binary, NumberOnly):
    """The smaller of a and b; NaN where either is."""

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        np.minimum(a, b, out=out)


@op("neg")
class Neg(Unary, NumberOnly):
    """-x"""

    def kernel(self, x: Array, out: Array) -> None:
        np.negative(x, out=out)


@op("abs")
class Abs(Unary, NumberOnly):
    """Absolute value."""

    def kernel(self, x: Array, out: Array) -> None:
        np.absolute(x, out=out)


@op("sign")
class Sign(Unary, NumberOnly):
    """-1, 0 or 1, as x is negative, zero or positive."""

    cost = Cost(CostClass.SIMD, operations=2)

    def kernel(self, x: Array, out: Array) -> None:
        np.sign(x, out=out)


@op("floor")
class Floor(Unary, FloatOnly):
    """The largest whole number not above x."""

    def kernel(self, x: Array, out: Array) -> None:
        np.floor(x, out=out)


@op("exp")
class Exp(Unary, FloatOnly):
    """e raised to the power x."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.exp(x, out=out)


@op("log")
class Log(Unary, FloatOnly):
    """Natural logarithm."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.log(x, out=out)


@op("sqrt")
class Sqrt(Unary, FloatOnly):
    """Square root."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.sqrt(x, out=out)


@op("rsqrt")
class Rsqrt(Unary, FloatOnly):
    """1 / sqrt(x)"""

    cost = Cost(CostClass.SIMD, operations=2, tail=True)

    def kernel(self, x: Array, out: Array) -> None:
        np.sqrt(x, out=out)
        np.divide(1, out, out=out)


@op("reciprocal")
class Reciprocal(Unary, FloatOnly):
    """1 / x"""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.divide(1, x, out=out)


@op("sin")
class Sin(Unary, FloatOnly):
    """Sine."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.sin(x, out=out)


@op("cos")
class Cos(Unary, FloatOnly):
    """Cosine."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.cos(x, out=out)


@op("tanh")
class Tanh(Unary, FloatOnly):
    """Hyperbolic tangent."""

    cost = TAIL

    def kernel(self, x: Array, out: Array) -> None:
        np.tanh(x, out=out)


@op("tanh_backward")
class TanhBackward(FloatGradient):
    """dy * (1 - y^2), where y = tanh(x)."""

    cost = Cost(CostClass.SIMD, operations=3)

    def scratch(self, dy: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        return ()

    def kernel(self, dy: Array, y: Array, out: Array) -> None:
        np.multiply(y, y, out=out)
        np.subtract(1, out, out=out)
        np.multiply(out, dy, out=out)


@op("sigmoid")
class Sigmoid(Unary, FloatOnly):
    """1 / (1 + exp(-x))"""

    cost = Cost(CostClass.SIMD, operations=4, tail=True)

    def kernel(self, x: Array, out: Array) -> None:
        _sigmoid(x, out)


@op("sigmoid_backward")
class SigmoidBackward(FloatGradient):
    """dy * y * (1 - y), where y = sigmoid(x)."""

    cost = Cost(CostClass.SIMD, operations=3)

    def scratch(self, dy: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        return ()

    def kernel(self, dy: Array, y: Array, out: Array) -> None:
        np.subtract(1, y, out=out)
        np.multiply(out, y, out=out)
        np.multiply(out, dy, out=out)


@op("silu")
class Silu(Unary, FloatOnly):
    """x * sigmoid(x)"""

    cost = Cost(CostClass.SIMD, operations=4, tail=True)

    def kernel(self, x: Array, out: Array) -> None:
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        np.divide(x, out, out=out)


@op("silu_backward")
class SiluBackward(FloatGradient):
    """dy * s * (1 + x * (1 - s)), where s = sigmoid(x)."""

    cost = Cost(CostClass.SIMD, operations=8, tail=True)

    def kernel(self, dy: Array, x: Array, out: Array, slope: Array) -> None:
        _sigmoid(x, out)
        np.subtract(1, out, out=slope)
        np.multiply(slope, x, out=slope)
        np.add(slope, 1, out=slope)
        np.multiply(out, slope, out=out)
        np.multiply(out, dy, out=out)


@op("relu")
class Relu(Unary, NumberOnly):
    """max(x, 0)"""

    def kernel(self, x: Array, out: Array) -> None:
        out.fill(0)  # NumPy takes the maximum with an array several times faster than with a number
        np.maximum(x, out, out=out)


@op("relu_backward")
class ReluBackward(FloatGradient):
    """dy where y is positive, else 0; where y = relu(x)."""

    cost = Cost(CostClass.SIMD, operations=2)

    def scratch(self, dy: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        return (self.infer(dy, y).with_dtype(DType.BOOL),)

    def kernel(self, dy: Array, y: Array, out: Array, positive: Array) -> None:
        np.greater(y, 0, out=positive)
        keep(positive, dy, out)


@op("erf")
class Erf(Unary, FloatOnly):
    """The error function."""

    cost = Cost(CostClass.SIMD, operations=8, tail=True)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (x,)

    def kernel(self, x: Array, out: Array, square: Array) -> None:
        _erf(x, out, square)


class GeluForm(Op):
    """The two forms of the Gaussian error linear unit."""

    approximate: str

    @limit
    def known_form(self, *operands: TensorType) -> bool:
        "gelu's approximate is none or tanh"
        return self.approximate in ("none", "tanh")


@op("gelu")
class Gelu(Unary, FloatOnly, GeluForm):
    """x times the Gaussian distribution function of x, exactly ("none") or by its tanh approximation ("tanh")."""

    approximate: str
    cost = Cost(CostClass.SIMD, operations=8, tail=True)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (x,)

    def kernel(self, x: Array, out: Array, temporary: Array) -> None:
        _twice_gaussian(self.approximate, x, out, temporary)
        np.multiply(out, x, out=out)
        np.multiply(out, 0.5, out=out)


@op("gelu_backward")
class GeluBackward(FloatGradient, GeluForm):
    """dy times the derivative of gelu at x."""

    approximate: str
    cost = Cost(CostClass.SIMD, operations=14, tail=True)

    def kernel(self, dy: Array, x: Array, out: Array, slope: Array) -> None:
        _twice_gaussian(self.approximate, x, out, slope)
        if self.approximate == "none":
            np.multiply(x, x, out=slope)
            np.multiply(slope, -0.5, out=slope)
            np.exp(slope, out=slope)
            np.multiply(slope, math.sqrt(2 / math.pi), out=slope)
            np.multiply(slope, x, out=slope)
        else:
            # With g = 1 + tanh(u), the derivative of x g / 2 is g/2 + x (2 - g) g u' / 2.
            np.multiply(x, x, out=slope)
            np.multiply(slope, 3 * TANH_CUBIC * TANH_LINEAR, out=slope)
            np.add(slope, TANH_LINEAR, out=slope)
            np.multiply(slope, x, out=slope)
            np.multiply(slope, out, out=slope)
            np.subtract(2, out, out=out)
            np.multiply(slope, out, out=slope)
            np.subtract(2, out, out=out)
        np.add(out, slope, out=out)
        np.multiply(out, dy, out=out)
        np.multiply(out, 0.5, out=out)


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
class Where(Elementwise):
    """a where the condition holds, else b."""

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        if condition.dtype is not DType.BOOL:
            raise ValueError(f"the condition {condition} is not bool")
        if a.dtype is not b.dtype:
            raise ValueError(f"operands {a} and {b} have different element types")
        return TensorType(a.dtype, broadcast_shape((condition, a, b)))

    def scratch(self, condition: TensorType, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
        return (self.infer(condition, a, b),)

    def kernel(self, condition: Array, a: Array, b: Array, out: Array, difference: Array) -> None:
        select(condition, a, b, out, difference)


@op("cast")
class Cast(Elementwise):
    """The same numbers as another element type: to integers toward zero, to bool whether not zero."""

    dtype: DType

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def kernel(self, x: Array, out: Array) -> None:
        if self.dtype is DType.BOOL:
            np.not_equal(x, 0, out=out)
        else:
            np.copyto(out, x, casting="unsafe")


TANH_LINEAR = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715
"""gelu's tanh form: u = TANH_LINEAR * (x + TANH_CUBIC * x^3)."""

ERF_EXPONENT = (
    1.1283792743030636,
    0.10276905582134253,
    -1.91830868262792e-4,
    -6.197846011142486e-4,
    8.763730525339902e-5,
    -5.668471937686287e-6,
    1.4185201021466835e-7,
)
"""p, lowest power first, such that erf(x) = tanh(x * p(x^2)): the fit that minimises erf's largest relative error,
1e-7 before rounding and 2.6e-7 in float32 arithmetic. p is positive everywhere, so that large x saturate."""

HALF_ERF_EXPONENT = tuple(c * math.sqrt(0.5) ** (2 * power + 1) for power, c in enumerate(ERF_EXPONENT))
"""The same for erf(x / sqrt(2))."""


def _polynomial(coefficients: tuple[float, ...], t: Array, out: Array) -> None:
    """The polynomial of t with these coefficients, lowest power first."""
    np.multiply(t, coefficients[-1], out=out)
    for coefficient in coefficients[-2:0:-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, t, out=out)
    np.add(out, coefficients[0], out=out)


def _erf(x: Array, out: Array, square: Array, exponent: tuple[float, ...] = ERF_EXPONENT) -> None:
    """erf(x), or erf of another scale of x that `exponent` belongs to."""
    np.multiply(x, x, out=square)
    _polynomial(exponent, square, out)
    np.multiply(out, x, out=out)
    np.tanh(out, out=out)


def _twice_gaussian(approximate: str, x: Array, out: Array, temporary: Array) -> None:
    """Twice the Gaussian distribution function of x, or its tanh approximation."""
    if approximate == "none":
        _erf(x, out, temporary, HALF_ERF_EXPONENT)
    else:
        np.multiply(x, x, out=out)
        np.multiply(out, TANH_CUBIC * TANH_LINEAR, out=out)
        np.add(out, TANH_LINEAR, out=out)
        np.multiply(out, x, out=out)
        np.tanh(out, out=out)
    np.add(out, 1, out=out)


def _sigmoid(x: Array, out: Array) -> None:
    """1 / (1 + exp(-x)); exp overflows to infinity for very negative x, which rightly gives 0."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.divide(1, out, out=out)
