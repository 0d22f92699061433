"""ATen's random numbers: drawn from the run's seed, the step, and which of the model's draws it is."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import numpy as np
import torch

import compiler.frontend.composites_dropout  # noqa: F401  declares snc::keep_mask
from compiler.frontend.lowering.context import Context, Scalar, lowers
from ir.graph import SymbolKind, Value
from ir.types import DType

aten = torch.ops.aten
SEED, STEP, SITE = "random.seed", "random.step", "random.site"


@lowers(aten.native_dropout.default)
def native_dropout(context: Context, x: Value, p: float, train: bool | None) -> tuple[Value, ...]:
    """x / (1 - p) where the mask is true, else 0. The rate is read at run time; a rate of 0 or 1 is fixed."""
    if not p or not train:
        return x, context.full(x.type.shape, 1, DType.BOOL)
    if p == 1:
        return context.full(x.type.shape, 0, x.type.dtype), context.full(x.type.shape, 0, DType.BOOL)
    mask, rate = _mask(context, x.type.shape, p)
    scale = context.emit("reciprocal", context.emit("sub", context.scalar(1, DType.F32), rate))
    scale = context.cast(scale, x.type.dtype)
    context.kept[context.node] = scale
    return _dropped(context, x, mask, scale), mask


@lowers(torch.ops.snc.keep_mask.default)
def keep_mask(context: Context, like: Value, p: float) -> tuple[Value, Value]:
    """The mask of a dropout, and its rate as it is at run time."""
    mask, rate = _mask(context, like.type.shape, p)
    return mask, context.cast(rate, like.type.dtype)


@lowers(aten.native_dropout_backward.default)
def native_dropout_backward(context: Context, grad: Value, mask: Value, scale: float) -> Value:
    """The forward pass's mask, and its scale where the mask comes from a dropout of this model."""
    grad = context.cast(grad, context.dtype)
    source = context.node.args[1]
    drop = source.args[0] if source.args and isinstance(source.args[0], torch.fx.Node) else source
    kept = context.kept.get(drop)
    factor = context.scalar(scale, grad.type.dtype) if kept is None else context.cast(kept, grad.type.dtype)
    return _dropped(context, grad, mask, factor)


def _mask(context: Context, shape: tuple[int, ...], p: float) -> tuple[Value, Value]:
    """A mask that is true with probability 1 - p, and p as a symbol that is read at run time."""
    draw = (context.draws.get(context.node, context.node), shape, p)
    if draw not in context.drawn:
        rate = context.symbol(_rate_name(context), SymbolKind.HYPER, np.asarray(p, np.float32))
        context.drawn[draw] = context.emit("keep_mask", rate, *_key(context), *_offsets(context, shape)), rate
    return context.drawn[draw]


def _dropped(context: Context, x: Value, mask: Value, scale: Value) -> Value:
    return context.emit("where", mask, context.emit("mul", x, scale), context.scalar(0, x.type.dtype))


@lowers(aten.rand.default, aten.rand_like.default)
def rand(context: Context, *_: Any, **__: Any) -> Value:
    return uniform(context)


@lowers(aten.uniform.default)
def uniform_between(context: Context, x: Value, low: float = 0, high: float = 1, **_: Any) -> Value:
    spread = context.scaled(uniform(context), high - low)
    return context.emit("add", spread, context.scalar(low, context.dtype))


@lowers(aten.randn.default, aten.randn_like.default)
def randn(context: Context, *_: Any, **__: Any) -> Value:
    return _normal(context)


@lowers(aten.normal_functional.default, torch.ops.prims.normal.default)
def normal(context: Context, _like: Any, mean: float = 0, std: float = 1, **_: Any) -> Value:
    """Normal numbers of that mean and standard deviation."""
    return context.emit("add", context.scaled(_normal(context), std), context.scalar(mean, context.dtype))


@lowers(aten.normal.float_float)
def normal_of_size(context: Context, mean: float, std: float, *_: Any, **__: Any) -> Value:
    return context.emit("add", context.scaled(_normal(context), std), context.scalar(mean, context.dtype))


def _normal(context: Context) -> Value:
    """sqrt(-2 log(1 - u)) * cos(2 pi v) for two uniform u, v (Box and Muller)."""
    first, second = uniform(context), uniform(context)
    away = context.emit("log1p", context.emit("neg", first))
    radius = context.emit("sqrt", context.scaled(away, -2))
    return context.emit("mul", radius, context.emit("cos", context.scaled(second, 2 * math.pi)))


@lowers(aten.bernoulli.p, aten.bernoulli.default)
def bernoulli(context: Context, x: Value, p: Scalar | None = None, **_: Any) -> Value:
    """1 with probability p, or with each element of x as its own probability."""
    chance = x if p is None else context.scalar(p, DType.F32)
    drawn = context.emit("lt", uniform(context, DType.F32), context.cast(chance, DType.F32))
    return context.cast(drawn, context.dtype)


def uniform(context: Context, dtype: DType | None = None) -> Value:
    """Random numbers from 0 to 1 of the shape of the node's result."""
    offsets = _offsets(context, context.shape)
    return context.emit("uniform", *_key(context), *offsets, dtype=dtype or context.dtype)


def count_steps(context: Context) -> tuple[str, ...]:
    """Have a program that draws random numbers draw others the next time; the symbols that are updated for that."""
    if STEP not in context.symbols:
        return ()
    step = context.symbol(STEP, SymbolKind.STATE, context.initial[STEP])
    context.builder.output(STEP, context.emit("add", step, context.scalar(1, DType.I32)))
    return (STEP,)


def _key(context: Context) -> tuple[Value, Value, Value]:
    """Seed, step and site. The site is a symbol, so that equal sections of a model stay equal."""
    draw = (context.draws.get(context.node, context.node), context.draw_count)
    context.draw_count += 1
    drawn = context.sites.setdefault(draw, len(context.sites))
    return (
        context.symbol(SEED, SymbolKind.HYPER, np.asarray(0, np.int32)),
        context.symbol(STEP, SymbolKind.STATE, np.asarray(0, np.int32)),
        context.constant_symbol(np.asarray(drawn, np.int32), SITE),
    )


def _offsets(context: Context, shape: tuple[int, ...]) -> list[Value]:
    """For each axis, how many elements of the tensor lie before each index along it, modulo 2^32."""
    strides = list(accumulate(shape[:0:-1], lambda a, b: a * b, initial=1))[::-1] if shape else []
    found = []
    for extent, stride in zip(shape, strides):
        offsets = (np.arange(extent, dtype=np.int64) * stride).astype(np.uint32).view(np.int32)
        found.append(context.constant_symbol(offsets, "random.offsets"))
    return found


def _rate_name(context: Context) -> str:
    """`<module>.p`, as the module has it."""
    location = context.builder.location
    return context.unused(f"{location.module}.p" if location and location.module else "p")
