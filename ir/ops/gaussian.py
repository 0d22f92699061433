"""The error function, and the activations made of it: by polynomials and tanh, block by block.

Compiled loops (`ir/kernels/native/elementwise.py`) do gelu in one pass; NumPy takes 18.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.gaussian import ERF_EXPONENT, TANH_CUBIC, TANH_LINEAR, centred_gaussian, polynomial
from ir.kernels.native import apply, load
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.activation import Activation, Gradient
from ir.types import TensorType


@op("erf")
class Erf(Activation):
    """The error function."""

    cost = Cost(CostClass.SIMD, operations=8, tail=True)
    temporaries = (True, True)

    def compute(self, x: Array, out: Array, exponent: Array, square: Array) -> None:
        np.multiply(x, x, out=square)
        polynomial(ERF_EXPONENT, square, exponent)
        np.multiply(exponent, x, out=exponent)
        np.tanh(exponent, out=out)


class GeluForm(Op):
    """The two forms of the Gaussian error linear unit."""

    approximate: str

    @property
    def loop(self) -> tuple[str, tuple[float, ...]]:
        return (self.name if self.approximate == "none" else self.name.replace("gelu", "gelu_tanh")), ()

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
        loops = load("elementwise")
        if loops is not None:
            apply(loops.gelu if self.approximate == "none" else loops.gelu_tanh, (x,), out, (half, gaussian))
            return
        np.multiply(x, 0.5, out=half)
        centred_gaussian(self.approximate, half, gaussian, square)
        np.multiply(gaussian, half, out=gaussian)
        np.add(gaussian, half, out=out)


@op("gelu_backward")
class GeluBackward(Gradient, GeluForm):
    """dy times the derivative of gelu at x."""

    approximate: str
    cost = Cost(CostClass.SIMD, operations=14, tail=True)
    temporaries = (True, True, True)

    def compute(self, dy: Array, x: Array, out: Array, half: Array, gaussian: Array, slope: Array) -> None:
        loops = load("elementwise")
        if loops is not None:
            function = loops.gelu_gradient if self.approximate == "none" else loops.gelu_tanh_gradient
            apply(function, (dy, x), out, (half, gaussian, slope))
            return
        # With g = 1 + tanh(u), the derivative of x g / 2 is g / 2 + x g' / 2.
        np.multiply(x, 0.5, out=half)
        centred_gaussian(self.approximate, half, gaussian, slope)
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
