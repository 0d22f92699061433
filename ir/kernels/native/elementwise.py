"""Activations of exponentials in one pass each; exponentials to within 2 units in the last place of float32.

NumPy has neither a multiply-add nor a fused loop: a polynomial takes it two passes per coefficient.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from ir.kernels.gaussian import ERF_EXPONENT, TANH_CUBIC, TANH_LINEAR
from ir.kernels.native.compiler import compiled, inlined
from ir.op import Array

F32 = np.float32
LOG2_E = F32(1 / math.log(2))
LN2_HIGH = F32(0.693359375)
LN2_LOW = F32(math.log(2) - 0.693359375)
"""ln 2 in two parts, the first of few digits, so that its multiples are exact."""
LARGEST, SMALLEST = F32(88.3), F32(-87.3)
"""Beyond these an exponential is no normal float32."""
INFINITE = F32(math.inf)
TAYLOR = tuple(F32(1 / math.factorial(power)) for power in range(8))
"""Of exp, on |r| <= ln(2) / 2: the next term is below 6e-9."""
ERF = tuple(F32(2 * c * math.sqrt(0.5) ** (2 * power + 1)) for power, c in enumerate(ERF_EXPONENT))
"""q, lowest power first, such that 1 + erf(x / sqrt(2)) = 2 / (1 + exp(-x q(x^2)))."""
NEAR_ZERO = F32(-math.log(2) / 2)
"""Down to here `TAYLOR` holds."""
LINEAR, CUBIC = F32(2 * TANH_LINEAR), F32(2 * TANH_LINEAR * TANH_CUBIC)
TANH = tuple(map(F32, (-0.33333328, 0.13332783, -0.0538525, 0.021003641, -0.006104947)))
"""p, lowest power first, such that tanh(x) = x + x^3 p(x^2) for |x| below `TANH_SMALL`, to within a unit of the last
place: fitted at Chebyshev's nodes."""
TANH_SMALL = F32(0.625)
DENSITY = F32(1 / math.sqrt(2 * math.pi))
VECTOR = "float32[::1]"
BLOCK = 1024
"""Elements of a block that stays in the first-level cache between two loops."""


@numba.extending.intrinsic
def as_float(typing, bits):  # type: ignore[no-untyped-def]
    """The float32 of these 32 bits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], context.get_value_type(numba.types.float32))

    return numba.types.float32(numba.types.int32), generate


@inlined
def exp(x: np.float32) -> np.float32:
    """e to the power x; where that is not a normal number, zero or infinite. Of NaN it is any number."""
    inside = min(max(x, SMALLEST), LARGEST)
    power = np.floor(inside * LOG2_E + F32(0.5))
    rest = (inside - power * LN2_HIGH) - power * LN2_LOW
    total = TAYLOR[7]
    total = total * rest + TAYLOR[6]
    total = total * rest + TAYLOR[5]
    total = total * rest + TAYLOR[4]
    total = total * rest + TAYLOR[3]
    total = total * rest + TAYLOR[2]
    total = total * rest + TAYLOR[1]
    total = total * rest + TAYLOR[0]
    bits = np.int32((np.int32(power) + np.int32(127)) << np.int32(23))
    power_of_e = total * as_float(bits)  # type: ignore[call-arg]
    power_of_e = F32(0) if x < SMALLEST else power_of_e
    return INFINITE if x > LARGEST else power_of_e


@inlined
def _erf_exponent(square: np.float32) -> np.float32:
    """q of `ERF`."""
    total: np.float32 = ERF[6]
    total = total * square + ERF[5]
    total = total * square + ERF[4]
    total = total * square + ERF[3]
    total = total * square + ERF[2]
    total = total * square + ERF[1]
    total *= square
    total += ERF[0]
    return total


@inlined
def _tanh(x: np.float32) -> np.float32:
    """The hyperbolic tangent of x."""
    square = x * x
    total: np.float32 = TANH[4]
    total = total * square + TANH[3]
    total = total * square + TANH[2]
    total = total * square + TANH[1]
    total = total * square + TANH[0]
    large = F32(1) - F32(2) / (F32(1) + exp(F32(2) * abs(x)))
    large = -large if x < F32(0) else large
    made = x + x * (square * total) if abs(x) < TANH_SMALL else large
    return made if x == x else x


@compiled(f"void({VECTOR}, {VECTOR})")
def tanh(x: Array, out: Array) -> None:
    """The hyperbolic tangent of x."""
    for i in range(len(x)):
        out[i] = _tanh(x[i])


@compiled(f"void({VECTOR}, {VECTOR})")
def sigmoid(x: Array, out: Array) -> None:
    """1 / (1 + exp(-x))"""
    for i in range(len(x)):
        share = F32(1) / (F32(1) + exp(-x[i]))
        out[i] = share if x[i] == x[i] else x[i]


@compiled(f"void({VECTOR}, {VECTOR})")
def silu(x: Array, out: Array) -> None:
    """x / (1 + exp(-x))"""
    for i in range(len(x)):
        out[i] = x[i] / (F32(1) + exp(-x[i]))


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR})")
def silu_gradient(dy: Array, x: Array, out: Array) -> None:
    """dy * s * (1 + x * (1 - s)), where s = sigmoid(x)."""
    for i in range(len(x)):
        share = F32(1) / (F32(1) + exp(-x[i]))
        out[i] = dy[i] * (share * (F32(1) + x[i] * (F32(1) - share)))


@compiled(f"void({VECTOR}, {VECTOR})")
def gelu(x: Array, out: Array) -> None:
    """x times the Gaussian distribution function of x."""
    for i in range(len(x)):
        out[i] = x[i] / (F32(1) + exp(-x[i] * _erf_exponent(x[i] * x[i])))


@compiled(f"void({VECTOR}, {VECTOR})")
def gelu_tanh(x: Array, out: Array) -> None:
    """The same by its tanh approximation."""
    for i in range(len(x)):
        out[i] = x[i] / (F32(1) + exp(-x[i] * (LINEAR + CUBIC * x[i] * x[i])))


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR})")
def gelu_gradient(dy: Array, x: Array, out: Array) -> None:
    """dy times the derivative of gelu at x; two loops, because one with two exponentials is not made of vectors."""
    for start in range(0, len(x), BLOCK):
        given, line, made = dy[start : start + BLOCK], x[start : start + BLOCK], out[start : start + BLOCK]
        for i in range(len(line)):
            made[i] = F32(1) / (F32(1) + exp(-line[i] * _erf_exponent(line[i] * line[i])))
        for i in range(len(line)):
            made[i] = given[i] * (made[i] + line[i] * (DENSITY * exp(F32(-0.5) * line[i] * line[i])))


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR})")
def gelu_tanh_gradient(dy: Array, x: Array, out: Array) -> None:
    """dy times the derivative of gelu's tanh approximation at x."""
    for i in range(len(x)):
        square = x[i] * x[i]
        share = F32(1) / (F32(1) + exp(-x[i] * (LINEAR + CUBIC * square)))
        slope = LINEAR + F32(3) * CUBIC * square
        out[i] = dy[i] * (share + x[i] * (slope * share * (F32(1) - share)))


@inlined
def _expm1(x: np.float32) -> np.float32:
    """exp(x) - 1 of numbers that are not positive; of NaN it is any number."""
    total = TAYLOR[7]
    total = total * x + TAYLOR[6]
    total = total * x + TAYLOR[5]
    total = total * x + TAYLOR[4]
    total = total * x + TAYLOR[3]
    total = total * x + TAYLOR[2]
    total = total * x + TAYLOR[1]
    return total * x if x > NEAR_ZERO else exp(x) - F32(1)  # type: ignore[no-any-return]


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR})")
def elu(x: Array, numbers: Array, out: Array) -> None:
    """scale * x where x is positive, else slope * (exp(input_scale * x) - 1); the numbers are scale, slope and
    input_scale."""
    scale, slope, input_scale = numbers[0], numbers[1], numbers[2]
    for i in range(len(x)):
        made = scale * x[i] if x[i] > F32(0) else slope * _expm1(input_scale * min(x[i], F32(0)))
        out[i] = made if x[i] == x[i] else x[i]


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR}, {VECTOR})")
def elu_gradient(dy: Array, x: Array, numbers: Array, out: Array) -> None:
    """dy times the derivative of elu at x."""
    scale, slope, input_scale = numbers[0], numbers[1], numbers[2]
    for i in range(len(x)):
        made = scale if x[i] > F32(0) else slope * input_scale * exp(input_scale * x[i])
        out[i] = dy[i] * (made if x[i] == x[i] else x[i])


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR}, {VECTOR})")
def elu_gradient_of_result(dy: Array, y: Array, numbers: Array, out: Array) -> None:
    """dy times the derivative of elu where it is y."""
    scale, slope, input_scale = numbers[0], numbers[1], numbers[2]
    for i in range(len(y)):
        made = scale if y[i] > F32(0) else (y[i] + slope) * input_scale
        out[i] = dy[i] * (made if y[i] == y[i] else y[i])
