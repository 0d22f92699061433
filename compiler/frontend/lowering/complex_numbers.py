"""Complex numbers as pairs of reals: operators of complex tensors, on their real and imaginary parts.

A complex symbol is a float32 one with a last axis of two. Operators that move or add up numbers do the same with both
parts; the others have a rule here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as pytree

from compiler.frontend.lowering.context import LOWERINGS, Context, Lowered, lowering_of
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten


@dataclass(frozen=True)
class Pair:
    """The real and the imaginary part of a complex tensor, of one shape."""

    re: Value
    im: Value


Number = Pair | Value | complex | float
Made = Lowered | Pair | list[Pair]

COMPLEX: dict[Any, Callable[..., Made]] = {}
"""From an ATen overload to the function for complex operands or results."""

BOTH_PARTS = (
    "view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "t", "transpose", "permute", "expand", "repeat", "slice",
    "select", "cat", "stack", "split", "split_with_sizes", "unbind", "slice_backward", "select_backward", "flip",
    "diagonal", "diagonal_scatter", "diagonal_backward", "unfold", "index", "_unsafe_index", "index_select", "gather",
    "index_put", "_unsafe_index_put", "index_add", "scatter", "scatter_add", "slice_scatter", "select_scatter",
    "detach", "alias", "clone", "lift_fresh", "lift_fresh_copy", "contiguous", "copy", "sum", "cumsum", "where",
    "embedding", "embedding_dense_backward", "tril", "triu", "neg", "zeros_like", "new_zeros", "masked_fill", "fill",
    "constant_pad_nd", "full_like", "new_full", "mean", "roll",
)  # fmt: skip
"""ATen operators that do the same with the real and the imaginary part; other operands are shared, and what is a real
number among complex ones has no imaginary part."""

FILLS = {"masked_fill": 2, "fill": 1, "constant_pad_nd": 2, "full_like": 1, "new_full": 2, "ones_like": 1}
"""Where such an operator takes a number that goes into the result."""


def complex_lowering_of(target: Any) -> Callable[..., Made] | None:
    """The function for an operator with complex operands or results, None where there is none."""
    if target in COMPLEX:
        return COMPLEX[target]
    name = getattr(getattr(target, "overloadpacket", None), "__name__", "")
    rule = lowering_of(target)
    return partial(_both_parts, rule, FILLS.get(name)) if rule is not None and name in BOTH_PARTS else None


def _both_parts(rule: Callable[..., Lowered], filled: int | None, context: Context, *args: Any, **kwargs: Any) -> Made:
    def part(name: str, fill: Callable[[Any], float]) -> Lowered:
        given = list(args)
        if filled is not None and filled < len(given) and not isinstance(given[filled], (Value, Pair)):
            given[filled] = fill(given[filled])
        chosen = pytree.tree_map(partial(_part, context, name), (given, kwargs), is_leaf=_is_operand)
        return rule(context, *chosen[0], **chosen[1])

    re, im = part("re", lambda number: complex(number).real), part("im", lambda number: complex(number).imag)
    if isinstance(re, Value) and isinstance(im, Value):
        return Pair(re, im)
    return [Pair(*both) for both in zip(re, im)]  # type: ignore[arg-type]


def _is_operand(value: Any) -> bool:
    return isinstance(value, (Value, Pair))


def _part(context: Context, name: str, value: Any) -> Any:
    if isinstance(value, Pair):
        return getattr(value, name)
    if name == "im" and isinstance(value, Value) and value.type.dtype.is_float:
        return context.full(value.type.shape, 0, value.type.dtype)
    return value


def joined(context: Context, pair: Pair) -> Value:
    """The pair as one tensor with a last axis of two."""
    shape = (*pair.re.type.shape, 1)
    return context.cat([context.reshape(pair.re, shape), context.reshape(pair.im, shape)], len(shape) - 1)


def parts_of(context: Context, x: Value) -> Pair:
    """The pair of which `x` is the joined form."""
    last = x.type.rank - 1
    halves = [context.reshape(context.slice(x, last, i, i + 1), x.type.shape[:-1]) for i in range(2)]
    return Pair(*halves)


def lowers_complex(*overloads: Any) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Register the decorated function for complex operands or results of `overloads`."""

    def register(function: Callable[..., Made]) -> Callable[..., Made]:
        COMPLEX.update(dict.fromkeys(overloads, function))
        return function

    return register


def paired(context: Context, x: Number) -> Pair:
    """Any number as a pair."""
    if isinstance(x, Pair):
        return x
    if isinstance(x, Value):
        x = context.cast(x, DType.F32)
        return Pair(x, context.full(x.type.shape, 0, DType.F32))
    number = complex(x)
    return Pair(context.scalar(number.real, DType.F32), context.scalar(number.imag, DType.F32))


def _is_real(x: Number) -> bool:
    return not isinstance(x, Pair) and (isinstance(x, Value) or complex(x).imag == 0)


def _real(context: Context, x: Number) -> Value:
    if isinstance(x, Value):
        return context.cast(x, DType.F32)
    return context.scalar(complex(x).real, DType.F32)  # type: ignore[arg-type]


def times(context: Context, x: Number, y: Number) -> Pair:
    """The product; two products instead of four where one is real."""
    if _is_real(x):
        x, y = y, x
    a = paired(context, x)
    if _is_real(y):
        factor = _real(context, y)
        return Pair(context.emit("mul", a.re, factor), context.emit("mul", a.im, factor))
    b = paired(context, y)
    re = context.emit("sub", context.emit("mul", a.re, b.re), context.emit("mul", a.im, b.im))
    im = context.emit("add", context.emit("mul", a.re, b.im), context.emit("mul", a.im, b.re))
    return Pair(re, im)


def plus(context: Context, x: Number, y: Number, op: str = "add") -> Pair:
    """The sum, or the difference."""
    a, b = paired(context, x), paired(context, y)
    return Pair(context.emit(op, a.re, b.re), context.emit(op, a.im, b.im))


def conjugate(context: Context, x: Pair) -> Pair:
    """The same real part, the imaginary part negated."""
    return Pair(x.re, context.emit("neg", x.im))


def magnitude(context: Context, x: Pair) -> Value:
    """The absolute value, by the ratio of the smaller part to the larger, whose squares cannot overflow."""
    re, im = context.emit("abs", x.re), context.emit("abs", x.im)
    large, small = context.emit("maximum", re, im), context.emit("minimum", re, im)
    is_zero = context.emit("eq", large, context.scalar(0, DType.F32))
    ratio = context.emit("div", small, context.emit("where", is_zero, context.scalar(1, DType.F32), large))
    square = context.emit("add", context.emit("mul", ratio, ratio), context.scalar(1, DType.F32))
    return context.emit("mul", large, context.emit("sqrt", square))


def _over(context: Context, x: Pair, divisor: Value) -> Pair:
    return Pair(context.emit("div", x.re, divisor), context.emit("div", x.im, divisor))


@lowers_complex(aten.mul.Tensor, aten.mul.Scalar)
def mul(context: Context, x: Number, y: Number) -> Pair:
    return times(context, x, y)


@lowers_complex(aten.add.Tensor, aten.add.Scalar)
def add(context: Context, x: Number, y: Number, alpha: complex = 1) -> Pair:
    return plus(context, x, y if alpha == 1 else times(context, y, alpha))


@lowers_complex(aten.sub.Tensor, aten.sub.Scalar)
def sub(context: Context, x: Number, y: Number, alpha: complex = 1) -> Pair:
    return plus(context, x, y if alpha == 1 else times(context, y, alpha), "sub")


@lowers_complex(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(context: Context, x: Number, y: Number, alpha: complex = 1) -> Pair:
    return plus(context, y, x if alpha == 1 else times(context, x, alpha), "sub")


@lowers_complex(aten.div.Tensor, aten.div.Scalar)
def div(context: Context, x: Number, y: Number) -> Pair:
    """By a complex number of magnitude m: times its conjugate over m, over m."""
    if _is_real(y):
        return _over(context, paired(context, x), _real(context, y))
    divisor = paired(context, y)
    size = magnitude(context, divisor)
    unit = _over(context, conjugate(context, divisor), size)
    return _over(context, times(context, x, unit), size)


@lowers_complex(aten.reciprocal.default)
def reciprocal(context: Context, x: Pair) -> Pair:
    return div(context, 1.0, x)  # type: ignore[return-value]


@lowers_complex(aten.abs.default)
def absolute(context: Context, x: Pair) -> Value:
    return magnitude(context, x)


@lowers_complex(aten.sgn.default)
def sign(context: Context, x: Pair) -> Pair:
    """The number over its magnitude; zero for zero."""
    size = magnitude(context, x)
    is_zero = context.emit("eq", size, context.scalar(0, DType.F32))
    return _over(context, x, context.emit("where", is_zero, context.scalar(1, DType.F32), size))


@lowers_complex(aten.angle.default)
def angle(context: Context, x: Pair) -> Value:
    return context.emit("atan2", x.im, x.re)


@lowers_complex(aten.exp.default)
def exp(context: Context, x: Pair) -> Pair:
    return _from_polar(context, context.emit("exp", x.re), x.im)


@lowers_complex(aten.log.default)
def log(context: Context, x: Pair) -> Pair:
    return Pair(context.emit("log", magnitude(context, x)), context.emit("atan2", x.im, x.re))


@lowers_complex(aten.sqrt.default)
def sqrt(context: Context, x: Pair) -> Pair:
    half = context.emit("mul", context.emit("atan2", x.im, x.re), context.scalar(0.5, DType.F32))
    return _from_polar(context, context.emit("sqrt", magnitude(context, x)), half)


@lowers_complex(aten.pow.Tensor_Scalar)
def power(context: Context, x: Pair, exponent: complex) -> Pair:
    """Small whole powers as products, others by logarithm and exponential."""
    if exponent in (1, 2, 3):
        result = x
        for _ in range(int(complex(exponent).real) - 1):
            result = times(context, result, x)
        return result
    return exp(context, times(context, log(context, x), exponent))  # type: ignore[arg-type, return-value]


@lowers_complex(aten.polar.default)
def polar(context: Context, size: Value, angle: Value) -> Pair:
    return _from_polar(context, size, angle)


def _from_polar(context: Context, size: Value, angle: Value) -> Pair:
    parts = (context.emit("mul", size, context.emit(name, angle)) for name in ("cos", "sin"))
    return Pair(*parts)


@lowers_complex(aten.complex.default)
def complex_of(context: Context, re: Value, im: Value) -> Pair:
    return Pair(context.expand(re, context.shape), context.expand(im, context.shape))


@lowers_complex(aten.view_as_complex.default)
def view_as_complex(context: Context, x: Value) -> Pair:
    return parts_of(context, x)


@lowers_complex(aten.view_as_real.default)
def view_as_real(context: Context, x: Pair) -> Value:
    return joined(context, x)


@lowers_complex(aten.real.default)
def real(context: Context, x: Pair) -> Value:
    return x.re


@lowers_complex(aten.imag.default)
def imag(context: Context, x: Pair) -> Value:
    return x.im


@lowers_complex(aten._conj.default, aten.conj_physical.default, aten._conj_physical.default)
def conj(context: Context, x: Pair) -> Pair:
    return conjugate(context, x)


@lowers_complex(aten.resolve_conj.default, aten.resolve_neg.default)
def resolved(context: Context, x: Pair) -> Pair:
    return x


@lowers_complex(aten._neg_view.default)
def negated(context: Context, x: Pair) -> Pair:
    return Pair(context.emit("neg", x.re), context.emit("neg", x.im))


@lowers_complex(aten._to_copy.default, aten.to.dtype)
def convert(context: Context, x: Number, *_: Any, **__: Any) -> Pair | Value:
    """A real result has lost the imaginary part."""
    return paired(context, x) if context.meta().is_complex() else paired(context, x).re


@lowers_complex(aten.ones_like.default, aten.new_ones.default)
def ones_like(context: Context, *_: Any, **__: Any) -> Pair:
    return Pair(context.full(context.shape, 1, DType.F32), context.full(context.shape, 0, DType.F32))


@lowers_complex(aten.eq.Tensor, aten.eq.Scalar)
def equal(context: Context, x: Number, y: Number) -> Value:
    a, b = paired(context, x), paired(context, y)
    return context.emit("logical_and", context.emit("eq", a.re, b.re), context.emit("eq", a.im, b.im))


@lowers_complex(aten.ne.Tensor, aten.ne.Scalar)
def differs(context: Context, x: Number, y: Number) -> Value:
    a, b = paired(context, x), paired(context, y)
    return context.emit("logical_or", context.emit("ne", a.re, b.re), context.emit("ne", a.im, b.im))


@lowers_complex(aten.linalg_vector_norm.default)
def vector_norm(context: Context, x: Pair, *rest: Any, **named: Any) -> Value:
    """The norm of the magnitudes."""
    return LOWERINGS[aten.linalg_vector_norm.default](context, magnitude(context, x), *rest, **named)  # type: ignore[return-value]


@lowers_complex(aten.mm.default, aten.bmm.default)
def matmul(context: Context, a: Number, b: Number) -> Pair:
    """Four real products, or two where one matrix is real."""

    def product(x: Value, y: Value) -> Value:
        return context.emit("matmul", x, y, dtype=DType.F32)

    if isinstance(a, Pair) and isinstance(b, Pair):
        re = context.emit("sub", product(a.re, b.re), product(a.im, b.im))
        return Pair(re, context.emit("add", product(a.re, b.im), product(a.im, b.re)))
    if isinstance(a, Pair):
        return Pair(product(a.re, b), product(a.im, b))  # type: ignore[arg-type]
    return Pair(product(a, b.re), product(a, b.im))  # type: ignore[arg-type, union-attr]


@lowers_complex(aten.addmm.default, aten.baddbmm.default)
def addmm(context: Context, bias: Number, a: Number, b: Number, *, beta: complex = 1, alpha: complex = 1) -> Pair:
    product = times(context, matmul(context, a, b), alpha)  # type: ignore[arg-type]
    return plus(context, product, times(context, bias, beta)) if beta else product


@lowers_complex(aten.mv.default)
def mv(context: Context, a: Number, x: Pair) -> Pair:
    column = Pair(*(context.reshape(part, (part.type.numel, 1)) for part in (x.re, x.im)))
    made = matmul(context, a, column)
    assert isinstance(made, Pair)
    return Pair(context.reshape(made.re, context.shape), context.reshape(made.im, context.shape))


@lowers_complex(aten.dot.default, aten.vdot.default)
def dot(context: Context, x: Pair, y: Pair) -> Pair:
    """The sum of products; of the conjugate for vdot."""
    first = conjugate(context, x) if context.node.target is aten.vdot.default else x
    product = times(context, first, y)
    return Pair(context.sum(product.re, (0,)), context.sum(product.im, (0,)))
