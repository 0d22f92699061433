"""Activations and their gradients: several passes each, which go over the operands block by block.

What lies between the passes is kept in temporary arrays, which are contiguous, and only the last one writes the result:
parts of a large tensor, a power of two apart, would drive each other out of the cache.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.mask import keep
from ir.kernels.native import apply, load
from ir.op import Array, Cost, CostClass, op
from ir.ops.elementwise import Binary, FloatOnly, InBlocks, NumberOnly, Unary


class Activation(InBlocks, Unary, FloatOnly):
    """A function of each element."""


class Gradient(InBlocks, Binary, FloatOnly):
    """The gradient of an activation: of its result, then what the forward operator left behind."""


@op("tanh")
class Tanh(Activation):
    """Hyperbolic tangent."""

    cost = Cost(CostClass.SIMD, tail=True)
    temporaries = (True, True)

    def compute(self, x: Array, out: Array, copy: Array, made: Array) -> None:
        if loops := load("elementwise"):
            apply(loops.tanh, (x,), out, (copy, made))
        else:
            np.tanh(x, out=out)


@op("tanh_backward")
class TanhBackward(Gradient):
    """dy * (1 - y^2), where y = tanh(x)."""

    cost = Cost(CostClass.SIMD, operations=3)
    temporaries = (True,)

    def compute(self, dy: Array, y: Array, out: Array, slope: Array) -> None:
        np.multiply(y, y, out=slope)
        np.subtract(1, slope, out=slope)
        np.multiply(slope, dy, out=out)


@op("sigmoid")
class Sigmoid(Activation):
    """1 / (1 + exp(-x))"""

    cost = Cost(CostClass.SIMD, operations=4, tail=True)
    temporaries = (True, True)

    def compute(self, x: Array, out: Array, divisor: Array, made: Array) -> None:
        if loops := load("elementwise"):
            apply(loops.sigmoid, (x,), out, (divisor, made))
            return
        _inverse_sigmoid(x, divisor)
        np.divide(1, divisor, out=out)


@op("sigmoid_backward")
class SigmoidBackward(Gradient):
    """dy * y * (1 - y), where y = sigmoid(x)."""

    cost = Cost(CostClass.SIMD, operations=3)
    temporaries = (True,)

    def compute(self, dy: Array, y: Array, out: Array, slope: Array) -> None:
        np.subtract(1, y, out=slope)
        np.multiply(slope, y, out=slope)
        np.multiply(slope, dy, out=out)


@op("silu")
class Silu(Activation):
    """x * sigmoid(x)"""

    cost = Cost(CostClass.SIMD, operations=4, tail=True)
    temporaries = (True, True)

    def compute(self, x: Array, out: Array, divisor: Array, made: Array) -> None:
        if loops := load("elementwise"):
            apply(loops.silu, (x,), out, (divisor, made))
            return
        _inverse_sigmoid(x, divisor)
        np.divide(x, divisor, out=out)


@op("silu_backward")
class SiluBackward(Gradient):
    """dy * s * (1 + x * (1 - s)), where s = sigmoid(x)."""

    cost = Cost(CostClass.SIMD, operations=8, tail=True)
    temporaries = (True, True, True)

    def compute(self, dy: Array, x: Array, out: Array, sigmoid: Array, slope: Array, made: Array) -> None:
        if loops := load("elementwise"):
            apply(loops.silu_gradient, (dy, x), out, (sigmoid, slope, made))
            return
        _inverse_sigmoid(x, sigmoid)
        np.divide(1, sigmoid, out=sigmoid)
        np.subtract(1, sigmoid, out=slope)
        np.multiply(slope, x, out=slope)
        np.add(slope, 1, out=slope)
        np.multiply(slope, sigmoid, out=slope)
        np.multiply(slope, dy, out=out)


@op("relu")
class Relu(Unary, NumberOnly):
    """max(x, 0)"""

    def kernel(self, x: Array, out: Array) -> None:
        # NumPy clips several times faster than it takes the maximum with a number.
        np.clip(x, 0, np.inf if out.dtype.kind == "f" else np.iinfo(out.dtype).max, out=out)


@op("relu_backward")
class ReluBackward(Gradient):
    """dy where y is positive, or NaN, else 0; where y = relu(x)."""

    cost = Cost(CostClass.SIMD, operations=2)
    temporaries = (False,)

    def compute(self, dy: Array, y: Array, out: Array, positive: Array) -> None:
        np.less_equal(y, 0, out=positive)
        np.logical_not(positive, out=positive)
        keep(positive, dy, out)


@op("leaky_relu")
class LeakyRelu(Activation):
    """x where it is positive, else slope * x."""

    slope: float
    cost = Cost(CostClass.SIMD, operations=2)
    temporaries = (True,)

    @property
    def loop(self) -> tuple[str, tuple[float, ...]]:
        return self.name, (self.slope,)

    def compute(self, x: Array, out: Array, scaled: Array) -> None:
        np.multiply(x, self.slope, out=scaled)
        if 0 < self.slope <= 1:
            np.maximum(x, scaled, out=out)
            return
        np.copyto(scaled, x, where=x > 0)
        np.copyto(out, scaled)


@op("leaky_relu_backward")
class LeakyReluBackward(Gradient):
    """dy where x is positive, else slope * dy."""

    slope: float
    cost = Cost(CostClass.SIMD, operations=3)
    temporaries = (False, True)

    @property
    def loop(self) -> tuple[str, tuple[float, ...]]:
        return self.name, (self.slope,)

    def compute(self, dy: Array, x: Array, out: Array, is_positive: Array, factor: Array) -> None:
        np.greater(x, 0, out=is_positive)
        if 0 <= self.slope <= 1:
            np.copyto(factor, is_positive)
            np.clip(factor, self.slope, 1, out=factor)
        else:
            factor.fill(self.slope)
            np.copyto(factor, 1, where=is_positive)
        np.multiply(factor, dy, out=out)


@op("elu")
class Elu(Activation):
    """scale * x where x is positive, else scale * alpha * (exp(input_scale * x) - 1)."""

    alpha: float
    scale: float
    input_scale: float
    cost = Cost(CostClass.SIMD, operations=5, tail=True)
    temporaries = (True, True)

    @property
    def loop(self) -> tuple[str, tuple[float, ...]]:
        return self.name, (self.scale, self.alpha * self.scale, self.input_scale)

    def compute(self, x: Array, out: Array, negative: Array, positive: Array) -> None:
        if loops := load("elementwise"):
            numbers = np.array(self.loop[1], np.float32)
            apply(lambda x, out: loops.elu(x, numbers, out), (x,), out, (negative, positive))
            return
        np.clip(x, -np.inf, 0, out=negative)
        _scale(negative, self.input_scale)
        np.expm1(negative, out=negative)
        _scale(negative, self.alpha * self.scale)
        np.clip(x, 0, np.inf, out=positive)
        _scale(positive, self.scale)
        np.add(negative, positive, out=out)


@op("elu_backward")
class EluBackward(Gradient):
    """dy * scale where x is positive, else dy * scale * alpha * input_scale * exp(input_scale * x).

    The second operand is x, or elu(x) where `is_result`; NaN in it makes NaN.
    """

    alpha: float
    scale: float
    input_scale: float
    is_result: bool
    cost = Cost(CostClass.SIMD, operations=6, tail=True)
    temporaries = (True, False, True, True)

    @property
    def loop(self) -> tuple[str, tuple[float, ...]]:
        numbers = (self.scale, self.alpha * self.scale, self.input_scale)
        return f"{self.name}{'_of_result' if self.is_result else ''}", numbers

    def compute(
        self, dy: Array, x: Array, out: Array, slope: Array, is_negative: Array, rest: Array, made: Array
    ) -> None:
        if loops := load("elementwise"):
            numbers = np.array(self.loop[1], np.float32)
            function = loops.elu_gradient_of_result if self.is_result else loops.elu_gradient
            apply(lambda dy, x, out: function(dy, x, numbers, out), (dy, x), out, (slope, rest, made))
            return
        np.clip(x, -np.inf, 0, out=slope)
        if self.is_result:
            np.add(slope, self.alpha * self.scale, out=slope)
            _scale(slope, self.input_scale)
        else:
            _scale(slope, self.input_scale)
            np.exp(slope, out=slope)
            _scale(slope, self.alpha * self.scale * self.input_scale)
        if self.alpha * self.input_scale != 1:  # the slopes on both sides of zero differ
            np.less_equal(x, 0, out=is_negative)
            np.copyto(rest, is_negative)
            np.multiply(slope, rest, out=slope)
            np.subtract(1, rest, out=rest)
            np.multiply(rest, self.scale, out=rest)
            np.add(slope, rest, out=slope)
        np.multiply(slope, dy, out=out)


def _scale(x: Array, factor: float) -> None:
    """Multiply x in place, where that makes a difference."""
    if factor != 1:
        np.multiply(x, factor, out=x)


def _inverse_sigmoid(x: Array, out: Array) -> None:
    """1 + exp(-x); exp overflows to infinity for very negative x, where sigmoid is rightly 0."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
