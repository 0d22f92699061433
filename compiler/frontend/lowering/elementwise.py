"""ATen's elementwise operators."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from compiler.frontend.dtypes import DTYPES, remedy
from compiler.frontend.lowering.context import LOWERINGS, Context, Operand, Scalar, lowers
from compiler.frontend.lowering.integer import whole_power
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten
prims = torch.ops.prims


def _unary(op: str, context: Context, x: Operand) -> Value:
    return context.apply(op, x)


def _rounding(op: str, context: Context, x: Value) -> Value:
    """A whole number; integers are that already."""
    return context.apply(op, x) if x.type.dtype.is_float else x


def _binary(op: str, context: Context, x: Operand, y: Operand) -> Value:
    return context.apply(LOGIC[op] if context.dtype is DType.BOOL else op, x, y)


def _comparison(op: str, context: Context, x: Operand, y: Operand) -> Value:
    dtype = _common_dtype(context)
    if dtype is DType.BOOL and op not in ("eq", "ne"):
        dtype = DType.I32
    return context.emit(op, context.cast(x, dtype), context.cast(y, dtype))


def _logical(op: str, context: Context, *operands: Operand) -> Value:
    return context.emit(op, *(_truth(context, operand) for operand in operands))


def _truth(context: Context, x: Operand) -> Value:
    """Whether each element is not zero."""
    if not isinstance(x, Value) or x.type.dtype is DType.BOOL:
        return context.cast(x, DType.BOOL)
    return context.emit("ne", x, context.scalar(0, x.type.dtype))


def _common_dtype(context: Context) -> DType:
    """The element type that PyTorch compares the node's two operands in."""
    operands = [arg.meta["val"] if isinstance(arg, torch.fx.Node) else arg for arg in context.node.args[:2]]
    dtype = torch.result_type(*operands)
    if dtype not in DTYPES:
        context.refuse(f"a comparison in {str(dtype).removeprefix('torch.')} is not supported", remedy(dtype))
    return DTYPES[dtype]


UNARY = (
    "tanh", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "reciprocal", "sigmoid", "relu", "erf", "sin", "cos",
    "silu", "expm1", "exp2", "log1p", "log2", "log10", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
    "atanh", "lgamma", "digamma", "erfc", "erfinv",
)  # fmt: skip
LOGIC = {"mul": "logical_and", "minimum": "logical_and", "maximum": "logical_or"}
"""What becomes of arithmetic on truth values."""
ROUNDINGS = ("floor", "ceil", "trunc", "round")
BINARY = ("mul", "maximum", "minimum")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

for _name in UNARY:
    LOWERINGS[getattr(aten, _name).default] = partial(_unary, _name)
for _name in ROUNDINGS:
    LOWERINGS[getattr(aten, _name).default] = partial(_rounding, _name)
for _name in BINARY:
    for _overload in getattr(aten, _name).overloads():
        if _overload in ("Tensor", "Scalar", "default"):
            LOWERINGS[getattr(getattr(aten, _name), _overload)] = partial(_binary, _name)
for _name in COMPARISONS:
    LOWERINGS[getattr(aten, _name).Tensor] = partial(_comparison, _name)
    LOWERINGS[getattr(aten, _name).Scalar] = partial(_comparison, _name)

LOWERINGS[aten.logical_not.default] = partial(_logical, "logical_not")
LOWERINGS[aten.logical_and.default] = partial(_logical, "logical_and")
LOWERINGS[aten.logical_or.default] = partial(_logical, "logical_or")
LOWERINGS[aten.logical_xor.default] = partial(_logical, "ne")


@lowers(aten._neg_view.default)
def neg_view(context: Context, x: Value) -> Value:
    return context.arithmetic("neg", x)


@lowers(aten.sign.default, aten.sgn.default)
def sign(context: Context, x: Value) -> Value:
    return x if x.type.dtype is DType.BOOL else context.emit("sign", x)


@lowers(aten.add.Tensor, aten.add.Scalar)
def add(context: Context, x: Operand, y: Operand, alpha: Scalar = 1) -> Value:
    if context.dtype is DType.BOOL:
        return context.apply("logical_or", x, y) if alpha else context.apply("logical_or", x, x)
    return context.apply("add", x, _times(context, y, alpha))


@lowers(aten.sub.Tensor, aten.sub.Scalar)
def sub(context: Context, x: Operand, y: Operand, alpha: Scalar = 1) -> Value:
    return context.apply("sub", x, _times(context, y, alpha))


@lowers(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(context: Context, x: Operand, y: Operand, alpha: Scalar = 1) -> Value:
    return context.apply("sub", y, _times(context, x, alpha))


def _times(context: Context, x: Operand, factor: Scalar) -> Operand:
    if factor == 1:
        return x
    return context.apply("mul", x, factor) if isinstance(x, Value) else x * factor


@lowers(aten.div.Tensor, aten.div.Scalar)
def div(context: Context, x: Operand, y: Operand) -> Value:
    return context.apply("div", x, y)


@lowers(aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor, aten.pow.Scalar)
def power(context: Context, x: Operand, exponent: Operand) -> Value:
    """Small powers as products and roots: the general one is slow."""
    if not context.dtype.is_float:
        return whole_power(context, x, exponent)
    if isinstance(exponent, Value) or not isinstance(x, Value):
        return context.apply("pow", x, exponent)
    if exponent == 1:
        return context.cast(x, context.dtype)
    if exponent in (2, 3):
        x = context.cast(x, context.dtype)
        square = context.emit("mul", x, x)
        return square if exponent == 2 else context.emit("mul", square, x)
    roots = {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}
    return context.apply(roots[exponent], x) if exponent in roots else context.apply("pow", x, exponent)


@lowers(aten.polygamma.default)
def polygamma(context: Context, n: int, x: Value) -> Value:
    return context.apply("polygamma", x, n=n) if n else context.apply("digamma", x)


@lowers(aten.gelu.default)
def gelu(context: Context, x: Value, *, approximate: str = "none") -> Value:
    return context.apply("gelu", x, approximate=approximate)


@lowers(aten.gelu_backward.default)
def gelu_backward(context: Context, grad: Value, x: Value, *, approximate: str = "none") -> Value:
    return context.apply("gelu_backward", grad, x, approximate=approximate)


@lowers(aten.tanh_backward.default)
def tanh_backward(context: Context, grad: Value, y: Value) -> Value:
    return context.apply("tanh_backward", grad, y)


@lowers(aten.sigmoid_backward.default)
def sigmoid_backward(context: Context, grad: Value, y: Value) -> Value:
    return context.apply("sigmoid_backward", grad, y)


@lowers(aten.silu_backward.default)
def silu_backward(context: Context, grad: Value, x: Value) -> Value:
    return context.apply("silu_backward", grad, x)


@lowers(aten.leaky_relu.default)
def leaky_relu(context: Context, x: Value, slope: Scalar = 0.01) -> Value:
    return context.apply("leaky_relu", x, slope=float(slope))


@lowers(aten.leaky_relu_backward.default)
def leaky_relu_backward(context: Context, grad: Value, x: Value, slope: Scalar, is_result: bool) -> Value:
    """The result stands for x, as it has its sign."""
    return context.apply("leaky_relu_backward", grad, x, slope=float(slope))


@lowers(aten.elu.default)
def elu(context: Context, x: Value, alpha: Scalar = 1, scale: Scalar = 1, input_scale: Scalar = 1) -> Value:
    return context.apply("elu", x, alpha=float(alpha), scale=float(scale), input_scale=float(input_scale))


@lowers(aten.elu_backward.default)
def elu_backward(
    context: Context, grad: Value, alpha: Scalar, scale: Scalar, input_scale: Scalar, is_result: bool, x: Value
) -> Value:
    scales = {"alpha": float(alpha), "scale": float(scale), "input_scale": float(input_scale)}
    return context.apply("elu_backward", grad, x, **scales, is_result=is_result)


@lowers(aten.threshold_backward.default)
def threshold_backward(context: Context, grad: Value, x: Value, threshold: Scalar) -> Value:
    if threshold == 0:
        return context.apply("relu_backward", grad, x)
    held = context.emit("le", x, context.scalar(threshold, x.type.dtype))  # which NaN is not
    return context.emit("where", held, context.scalar(0, grad.type.dtype), grad)


@lowers(aten.hardshrink_backward.default, aten.softshrink_backward.default)
def shrink_backward(context: Context, grad: Value, x: Value, width: Scalar) -> Value:
    """The gradient where x lies outside -width .. width."""
    inside = context.emit("le", context.emit("abs", x), context.scalar(width, x.type.dtype))
    return context.emit("where", inside, context.scalar(0, grad.type.dtype), grad)


@lowers(aten.where.self)
def where(context: Context, condition: Value, x: Operand, y: Operand) -> Value:
    return context.emit("where", condition, context.cast(x, context.dtype), context.cast(y, context.dtype))


@lowers(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(context: Context, x: Value, mask: Value, value: Operand) -> Value:
    return where(context, mask, value, x)  # type: ignore[return-value]


@lowers(aten.clamp.default, aten.clamp.Tensor)
def clamp(context: Context, x: Value, low: Operand | None = None, high: Operand | None = None) -> Value:
    """One operator where the bounds are known numbers; NaN is not a bound but makes every element NaN."""
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    if context.dtype.is_float and not any(isinstance(bound, Value) or math.isnan(bound) for bound in bounds):
        return context.apply("clamp", x, low=float(bounds[0]), high=float(bounds[1]))  # type: ignore[arg-type]
    if low is not None:
        x = _binary("maximum", context, x, low)
    return x if high is None else _binary("minimum", context, x, high)


@lowers(aten.clamp_min.default, aten.clamp_min.Tensor)
def clamp_min(context: Context, x: Value, low: Operand) -> Value:
    return clamp(context, x, low)  # type: ignore[return-value]


@lowers(aten.clamp_max.default, aten.clamp_max.Tensor)
def clamp_max(context: Context, x: Value, high: Operand) -> Value:
    return clamp(context, x, None, high)  # type: ignore[return-value]


@lowers(aten._to_copy.default, aten.to.dtype, prims.convert_element_type.default)
def convert(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    """Another element type; layout and device mean nothing here."""
    return _truth(context, x) if context.dtype is DType.BOOL else context.wrapped(context.cast(x, context.dtype))


@lowers(
    aten.detach.default, aten.alias.default, aten.clone.default, aten.lift_fresh.default, aten.lift_fresh_copy.default,
    aten.contiguous.default, prims.view_of.default, aten.resolve_conj.default, aten.resolve_neg.default,
    aten._conj.default, aten.conj_physical.default,
)  # fmt: skip
def identity(context: Context, x: Value, **_: Any) -> Value:
    """The value itself: values are immutable and have one layout."""
    return x


@lowers(aten.copy.default)
def copy(context: Context, x: Value, source: Value, *_: Any) -> Value:
    return context.expand(convert(context, source), context.shape)  # type: ignore[arg-type]


@lowers(aten.fill.Scalar, aten.fill.Tensor)
def fill(context: Context, x: Value, value: Operand) -> Value:
    number = context.wrapped(context.cast(value, context.dtype))
    return context.expand(number, context.shape)


@lowers(
    aten.zeros_like.default, aten.new_zeros.default,
)  # fmt: skip
def zeros_like(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.full(context.shape, 0, context.dtype)


@lowers(aten.ones_like.default, aten.new_ones.default)
def ones_like(context: Context, x: Value, *_: Any, **__: Any) -> Value:
    return context.full(context.shape, 1, context.dtype)


@lowers(aten.full_like.default)
def full_like(context: Context, x: Value, value: Scalar, **_: Any) -> Value:
    return context.full(context.shape, value, context.dtype)


@lowers(aten.new_full.default)
def new_full(context: Context, x: Value, size: list[int], value: Scalar, **_: Any) -> Value:
    return context.full(context.shape, value, context.dtype)
