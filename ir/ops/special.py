"""Special functions as SciPy computes them: of the gamma function, and of the Gaussian distribution."""

from __future__ import annotations

import math

import numpy as np

from ir.op import Array, Cost, CostClass, limit, op
from ir.ops.elementwise import FloatOnly, Unary
from ir.types import TensorType

SERIES = Cost(CostClass.SIMD, operations=24, tail=True)
"""A logarithm, a quotient, and polynomials of ten terms or so."""


@op("lgamma")
class LogGamma(Unary, FloatOnly):
    """The logarithm of the absolute value of the gamma function; inf for either infinity."""

    cost = SERIES

    def kernel(self, x: Array, out: Array) -> None:
        from scipy.special import gammaln  # here, as it takes longer to import than many a run

        gammaln(x, out=out)
        np.copyto(out, np.inf, where=np.isneginf(x))


@op("digamma")
class Digamma(Unary, FloatOnly):
    """The derivative of lgamma; -inf at 0, NaN at other whole numbers below it."""

    cost = SERIES

    def kernel(self, x: Array, out: Array) -> None:
        from scipy.special import psi

        psi(x, out=out)
        np.copysign(np.float32(np.inf), -x, out=out, where=x == 0)


@op("polygamma")
class Polygamma(Unary, FloatOnly):
    """The derivative of digamma of order n: (-1)^(n+1) n! times the sum of (x + k)^-(n+1) over whole k from 0 on."""

    n: int
    cost = SERIES

    @limit
    def is_a_derivative(self, x: TensorType) -> bool:
        "the order of a derivative of digamma is at least 1"
        return self.n >= 1

    def kernel(self, x: Array, out: Array) -> None:
        from scipy.special import zeta

        zeta(np.float32(self.n + 1), x, out=out)
        np.multiply(out, np.float32((-1) ** (self.n + 1) * math.factorial(self.n)), out=out)


@op("erfc")
class Erfc(Unary, FloatOnly):
    """1 - erf(x), with all digits where erf is near 1."""

    cost = SERIES

    def kernel(self, x: Array, out: Array) -> None:
        from scipy.special import erfc

        erfc(x, out=out)


@op("erfinv")
class Erfinv(Unary, FloatOnly):
    """The x whose error function is given; either infinity for 1 and -1, NaN beyond."""

    cost = SERIES

    def kernel(self, x: Array, out: Array) -> None:
        from scipy.special import erfinv

        erfinv(x, out=out)
