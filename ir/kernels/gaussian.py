"""The Gaussian distribution function by polynomials and tanh: its coefficients, and NumPy's way to go through them."""

from __future__ import annotations

import math

import numpy as np

from ir.op import Array

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


def centred_gaussian(approximate: str, half: Array, out: Array, square: Array) -> None:
    """Twice the Gaussian distribution function of x less one, or its tanh approximation; `half` is half of x."""
    np.multiply(half, half, out=square)
    if approximate == "none":
        polynomial(GELU_EXPONENT, square, out)
    else:
        np.multiply(square, 8 * TANH_CUBIC * TANH_LINEAR, out=out)
        np.add(out, 2 * TANH_LINEAR, out=out)
    np.multiply(out, half, out=out)
    np.tanh(out, out=out)


def polynomial(coefficients: tuple[float, ...], t: Array, out: Array) -> None:
    """The polynomial of t with these coefficients, lowest power first."""
    np.multiply(t, coefficients[-1], out=out)
    for coefficient in coefficients[-2:0:-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, t, out=out)
    np.add(out, coefficients[0], out=out)
