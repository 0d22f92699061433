"""Functions of one number that NumPy has: rounding, exponentials, logarithms, trigonometry."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ir.op import Array, Cost, op
from ir.ops.elementwise import BODY, TAIL, FloatOnly, Unary

TABLE: dict[str, tuple[np.ufunc, Cost, str]] = {
    "floor": (np.floor, BODY, "The largest whole number not above x."),
    "ceil": (np.ceil, BODY, "The smallest whole number not below x."),
    "trunc": (np.trunc, BODY, "x without its fraction: the nearest whole number towards zero."),
    "round": (np.rint, BODY, "The nearest whole number, of two equally near ones the even one."),
    "sqrt": (np.sqrt, TAIL, "Square root."),
    "reciprocal": (np.reciprocal, TAIL, "1 / x"),
    "exp": (np.exp, TAIL, "e raised to the power x."),
    "expm1": (np.expm1, TAIL, "exp(x) - 1, exact where x is small."),
    "exp2": (np.exp2, TAIL, "2 raised to the power x."),
    "log": (np.log, TAIL, "Natural logarithm."),
    "log1p": (np.log1p, TAIL, "log(1 + x), exact where x is small."),
    "log2": (np.log2, TAIL, "Logarithm to base 2."),
    "log10": (np.log10, TAIL, "Logarithm to base 10."),
    "sin": (np.sin, TAIL, "Sine."),
    "cos": (np.cos, TAIL, "Cosine."),
    "tan": (np.tan, TAIL, "Tangent."),
    "asin": (np.arcsin, TAIL, "Inverse sine."),
    "acos": (np.arccos, TAIL, "Inverse cosine."),
    "atan": (np.arctan, TAIL, "Inverse tangent."),
    "sinh": (np.sinh, TAIL, "Hyperbolic sine."),
    "cosh": (np.cosh, TAIL, "Hyperbolic cosine."),
    "asinh": (np.arcsinh, TAIL, "Inverse hyperbolic sine."),
    "acosh": (np.arccosh, TAIL, "Inverse hyperbolic cosine."),
    "atanh": (np.arctanh, TAIL, "Inverse hyperbolic tangent."),
}
"""By operator name: the NumPy function, what it costs, what it computes."""


class Function(Unary, FloatOnly):
    """A NumPy function of each element."""

    function: ClassVar[np.ufunc]

    def kernel(self, x: Array, out: Array) -> None:
        self.function(x, out=out)


for _name, (_function, _cost, _meaning) in TABLE.items():
    # A name of this module, so that a pickle can refer to the class.
    globals()[_name] = op(_name)(
        type(_name, (Function,), {"function": _function, "cost": _cost, "__doc__": _meaning, "__module__": __name__})
    )
