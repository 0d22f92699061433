"""Losses: negative log likelihood, smooth l1; and the embedding tables that targets resemble."""

from __future__ import annotations

import math

import torch

from compiler.frontend.lowering.context import Context, lowers
from ir.graph import Value
from ir.types import DType

aten = torch.ops.aten
NONE, MEAN, SUM = 0, 1, 2


@lowers(aten.nll_loss_forward.default)
def nll_loss(
    context: Context, logp: Value, target: Value, weight: Value | None, reduction: int, ignore_index: int
) -> tuple[Value, ...]:
    """The loss, and the number (or total weight) of the rows that count."""
    losses = context.emit("nll", _rows(context, logp), _rows_of(context, target), ignore_index=ignore_index)
    weights = _weights(context, logp, target, weight, ignore_index)
    if weight is not None:
        losses = context.emit("mul", losses, weights)
    total = context.sum(weights, (0,))
    if reduction == NONE:
        return context.reshape(losses, context.shape), total
    loss = context.sum(losses, (0,))
    return context.emit("div", loss, total) if reduction == MEAN else loss, total


@lowers(aten.nll_loss_backward.default)
def nll_loss_backward(
    context: Context,
    grad: Value,
    logp: Value,
    target: Value,
    weight: Value | None,
    reduction: int,
    ignore_index: int,
    total: Value,
) -> Value:
    rows = _rows(context, logp)
    if reduction == MEAN:
        grad = context.emit("div", grad, total)
    if weight is not None:
        grad = context.emit("mul", grad, _weights(context, logp, target, weight, ignore_index))
    grad = context.expand(context.reshape(grad, (1,)) if not grad.type.rank else grad, rows.type.shape[:1])
    classes = rows.type.shape[1]
    result = context.emit("nll_backward", grad, _rows_of(context, target), classes=classes, ignore_index=ignore_index)
    return context.reshape(result, context.shape)


@lowers(aten.smooth_l1_loss.default)
def smooth_l1_loss(context: Context, x: Value, target: Value, reduction: int = MEAN, beta: float = 1.0) -> Value:
    """Where the distance d is below beta d^2 / (2 beta), beyond it d - beta / 2."""
    return _reduced(context, _huber(context, x, target, beta, 1 / beta if beta else 1.0), reduction)


@lowers(aten.huber_loss.default)
def huber_loss(context: Context, x: Value, target: Value, reduction: int = MEAN, delta: float = 1.0) -> Value:
    """Where the distance d is below delta d^2 / 2, beyond it delta (d - delta / 2)."""
    return _reduced(context, _huber(context, x, target, delta, 1.0), reduction)


@lowers(aten.smooth_l1_loss_backward.default)
def smooth_l1_loss_backward(
    context: Context, grad: Value, x: Value, target: Value, reduction: int, beta: float
) -> Value:
    return _huber_backward(context, grad, x, target, reduction, beta, 1 / beta if beta else math.inf)


@lowers(aten.huber_loss_backward.default)
def huber_loss_backward(context: Context, grad: Value, x: Value, target: Value, reduction: int, delta: float) -> Value:
    return _huber_backward(context, grad, x, target, reduction, delta, 1.0)


def _huber(context: Context, x: Value, target: Value, bound: float, scale: float) -> Value:
    """scale m (d - m / 2), where m is the smaller of the distance d and the bound; without a bound, the distance."""
    distance = context.emit("abs", context.emit("sub", x, target))
    if not bound:
        return distance
    dtype = x.type.dtype
    near = context.emit("minimum", distance, context.scalar(bound, dtype))
    half = context.emit("mul", near, context.scalar(0.5, dtype))
    loss = context.emit("mul", near, context.emit("sub", distance, half))
    return loss if scale == 1 else context.emit("mul", loss, context.scalar(scale, dtype))


def _huber_backward(
    context: Context, grad: Value, x: Value, target: Value, reduction: int, bound: float, scale: float
) -> Value:
    """The difference held within the bounds, times `scale` and the gradient of its loss."""
    dtype = x.type.dtype
    held = context.emit("minimum", context.emit("sub", x, target), context.scalar(bound, dtype))
    held = context.emit("maximum", held, context.scalar(-bound, dtype))
    factor = scale / x.type.numel if reduction == MEAN and x.type.numel else scale
    if factor != 1:
        grad = context.emit("mul", grad, context.scalar(factor, dtype))
    return context.expand(context.emit("mul", held, grad), context.shape)


def _reduced(context: Context, loss: Value, reduction: int) -> Value:
    if reduction == NONE:
        return loss
    total = context.sum(loss, tuple(range(loss.type.rank)))
    return total if reduction == SUM else context.emit("div", total, context.scalar(loss.type.numel, loss.type.dtype))


def _rows(context: Context, logp: Value) -> Value:
    """Log probabilities [n, classes]; a single row may come without n."""
    return logp if logp.type.rank == 2 else context.reshape(logp, (1, logp.type.numel))


def _rows_of(context: Context, target: Value) -> Value:
    return context.reshape(target, (target.type.numel,))


def _weights(context: Context, logp: Value, target: Value, weight: Value | None, ignore_index: int) -> Value:
    """How much each row counts: its class's weight, zero where it is to be ignored."""
    target = _rows_of(context, target)
    counts = context.emit("ne", target, context.scalar(ignore_index, DType.I32))
    if weight is None:
        return context.cast(counts, logp.type.dtype)
    known = context.emit("where", counts, target, context.scalar(0, DType.I32))
    table = context.reshape(weight, (weight.type.numel, 1))
    weights = context.reshape(context.emit("index_select", table, known, dim=0), target.type.shape)
    return context.emit("where", counts, weights, context.scalar(0, weight.type.dtype))


@lowers(aten.embedding.default)
def embedding(
    context: Context,
    table: Value,
    index: Value,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    return context.emit("index_select", table, index, dim=0)


@lowers(aten.embedding_dense_backward.default)
def embedding_backward(
    context: Context, grad: Value, index: Value, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Value:
    if scale_grad_by_freq:
        uses = context.full(index.type.shape, 1, grad.type.dtype)
        used = context.emit("index_add", uses, index, dim=0, extent=rows)
        frequency = context.emit("index_select", used, index, dim=0)
        grad = context.emit("div", grad, context.reshape(frequency, (*index.type.shape, 1)))
    if padding_idx >= 0:
        column = context.reshape(index, (*index.type.shape, 1))
        counts = context.emit("ne", column, context.scalar(padding_idx, DType.I32))
        grad = context.emit("where", counts, grad, context.scalar(0, grad.type.dtype))
    return context.emit("index_add", grad, index, dim=0, extent=rows)
