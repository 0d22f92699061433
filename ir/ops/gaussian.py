"""The error function, and the activations made of it: by polynomials and tanh, block by block."""

from __future__ import annotations

import math

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.activation import Activation, Gradient
from ir.types import TensorType

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

GELU_EXPONENT = tuple(c * math.sqrt(2) ** (2 * power + 1) for power, c in enumerate(ERF_EXPONENT))
"""The same for erf(h * sqrt(2)), of which gelu is made, h being half of its operand."""


@op("erf")
class Erf(Activation):
    """The error function."""

    cost = Cost(CostClass.SIMD, operations=8, tail=True)
    temporaries = (True, True)

    def compute(self, x: Array, out: Array, exponent: Array, square: Array) -> None:
        np.multiply(x, x, out=square)
        _polynomial(ERF_EXPONENT, square, exponent)
        np.multiply(exponent, x, out=exponent)
        np.tanh(exponent, out=out)


class GeluForm(Op):
    """The two forms of the Gaussian error linear unit."""

    approximate: str

    @limit
    def known_form(self, *operands: TensorType) -> bool:
        "gelu's approximate is none or tanh"
        return self.approximate in ("none", "tanh")


@op("gelu")
class Gelu(Activation, GeluForm):
    """x times the Gaussian distribution function of x, exactly ("none") or by its tanh approximation ("tanh")."""

    approximate: str
    cost = Cost(CostClass.SIMD, operations=8, tail=True)
    temporaries = (True, True, True)

    def compute(self, x: Array, out: Array, half: Array, gaussian: Array, square: Array) -> None:
        np.multiply(x, 0.5, out=half)
        _centred_gaussian(self.approximate, half, gaussian, square)
        np.multiply(gaussian, half, out=gaussian)
        np.add(gaussian, half, out=out)


@op("gelu_backward")
class GeluBackward(Gradient, GeluForm):
    """dy times the derivative of gelu at x."""

    approximate: str
    cost = Cost(CostClass.SIMD, operations=14, tail=True)
    temporaries = (True, True, True)

    def compute(self, dy: Array, x: Array, out: Array, half: Array, gaussian: Array, slope: Array) -> None:
        # With g = 1 + tanh(u), the derivative of x g / 2 is g / 2 + x g' / 2.
        np.multiply(x, 0.5, out=half)
        _centred_gaussian(self.approximate, half, gaussian, slope)
        if self.approximate == "none":
            np.multiply(half, half, out=slope)
            np.multiply(slope, -2, out=slope)
            np.exp(slope, out=slope)
            np.multiply(slope, 2 * TANH_LINEAR, out=slope)
            np.multiply(slope, half, out=slope)
            np.add(gaussian, 1, out=gaussian)
        else:
            # x g' = (1 - tanh(u)) g x u', and x u' is this polynomial of half of x.
            np.multiply(half, half, out=slope)
            np.multiply(slope, 24 * TANH_CUBIC * TANH_LINEAR, out=slope)
            np.add(slope, 2 * TANH_LINEAR, out=slope)
            np.multiply(slope, half, out=slope)
            np.subtract(1, gaussian, out=half)
            np.multiply(slope, half, out=slope)
            np.add(gaussian, 1, out=gaussian)
            np.multiply(slope, gaussian, out=slope)
        np.add(gaussian, slope, out=gaussian)
        np.multiply(gaussian, 0.5, out=gaussian)
        np.multiply(gaussian, dy, out=out)


def _centred_gaussian(approximate: str, half: Array, out: Array, square: Array) -> None:
    """Twice the Gaussian distribution function of x less one, or its tanh approximation; `half` is half of x."""
    np.multiply(half, half, out=square)
    if approximate == "none":
        _polynomial(GELU_EXPONENT, square, out)
    else:
        np.multiply(square, 8 * TANH_CUBIC * TANH_LINEAR, out=out)
        np.add(out, 2 * TANH_LINEAR, out=out)
    np.multiply(out, half, out=out)
    np.tanh(out, out=out)


def _polynomial(coefficients: tuple[float, ...], t: Array, out: Array) -> None:
    """The polynomial of t with these coefficients, lowest power first."""
    np.multiply(t, coefficients[-1], out=out)
    for coefficient in coefficients[-2:0:-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, t, out=out)
    np.add(out, coefficients[0], out=out)
