"""Layer norm, which the device has; batch norm and group norm, which become sums over the batch or a group."""

from __future__ import annotations

import math

import torch

from compiler.frontend.lowering.context import Context, lowers
from ir.graph import Value

aten = torch.ops.aten


@lowers(aten.native_layer_norm.default)
def layer_norm(
    context: Context, x: Value, shape: list[int], weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value, ...]:
    weight, bias = _affine(context, x, tuple(shape), weight, bias)
    return context.emit_all("layer_norm", x, weight, bias, axes=len(shape), eps=eps)


@lowers(aten.native_layer_norm_backward.default)
def layer_norm_backward(
    context: Context,
    grad: Value,
    x: Value,
    shape: list[int],
    mean: Value,
    rstd: Value,
    weight: Value | None,
    bias: Value | None,
    mask: list[bool],
) -> tuple[Value, ...]:
    weight, _ = _affine(context, x, tuple(shape), weight, bias)
    return context.emit_all("layer_norm_backward", grad, x, mean, rstd, weight, axes=len(shape))


def _affine(
    context: Context, x: Value, shape: tuple[int, ...], weight: Value | None, bias: Value | None
) -> tuple[Value, Value]:
    """Weight and bias, or what stands for their absence."""
    ones = context.full(shape, 1, x.type.dtype) if weight is None else weight
    return ones, context.full(shape, 0, x.type.dtype) if bias is None else bias


@lowers(aten._native_batch_norm_legit_functional.default)
def batch_norm(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    """Normalised x, the statistics kept for the backward pass, and the new running statistics."""
    if not training:
        y, mean, rstd = _batch_norm_with(context, x, weight, bias, running_mean, running_var, eps)
        return y, mean, rstd, running_mean, running_var
    y, mean, rstd, var = _batch_norm_over_batch(context, x, weight, bias, eps)
    count = _count(x)
    unbiased = context.scaled(var, count / max(count - 1, 1))
    new_mean = _moved(context, running_mean, mean, momentum)
    return y, mean, rstd, new_mean, _moved(context, running_var, unbiased, momentum)


@lowers(aten.native_batch_norm.default)
def batch_norm_without_update(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    """Batch norm that keeps no statistics, which instance norm is made of."""
    if not training and running_mean is not None and running_var is not None:
        return _batch_norm_with(context, x, weight, bias, running_mean, running_var, eps)
    return _batch_norm_over_batch(context, x, weight, bias, eps)[:3]


@lowers(aten._native_batch_norm_legit_no_training.default)
def batch_norm_eval(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    return _batch_norm_with(context, x, weight, bias, running_mean, running_var, eps)


@lowers(aten._native_batch_norm_legit.no_stats)
def batch_norm_without_statistics(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Value, ...]:
    """Batch norm of a module that keeps no running statistics."""
    return _batch_norm_over_batch(context, x, weight, bias, eps)[:3]


@lowers(aten.native_group_norm.default)
def group_norm(
    context: Context,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    images: int,
    channels: int,
    pixels: int,
    groups: int,
    eps: float,
) -> tuple[Value, ...]:
    """Normalised x, and the mean and reciprocal deviation of every group [images, groups]."""
    size = channels // groups
    grouped = context.reshape(x, (images, groups, size, pixels))
    share = 1 / (size * pixels)
    mean = context.scaled(context.sum(grouped, (2, 3), keepdim=True), share)
    centered = context.emit("sub", grouped, mean)
    var = context.scaled(context.sum_square(centered, (2, 3), keepdim=True), share)
    rstd = _rstd(context, var, eps)
    factor = rstd
    if weight is not None:
        factor = context.emit("mul", rstd, context.reshape(weight, (1, groups, size, 1)))
    y = context.emit("mul", centered, factor)
    if bias is not None:
        y = context.emit("add", y, context.reshape(bias, (1, groups, size, 1)))
    mean, rstd = (context.reshape(statistic, (images, groups)) for statistic in (mean, rstd))
    return context.reshape(y, x.type.shape), mean, rstd


@lowers(aten.native_batch_norm_backward.default)
def batch_norm_backward(
    context: Context,
    grad: Value,
    x: Value,
    weight: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    saved_mean: Value,
    saved_rstd: Value,
    training: bool,
    eps: float,
    mask: list[bool],
) -> tuple[Value, ...]:
    """Gradients of x, weight and bias. In training the batch's statistics depend on x too."""
    if training or running_mean is None or running_var is None:
        mean, rstd = _broadcast(context, saved_mean, x), _broadcast(context, saved_rstd, x)
    else:
        mean = _broadcast(context, running_mean, x)
        rstd = _rstd(context, _broadcast(context, running_var, x), eps)
    centered = context.emit("sub", x, mean)
    grad_bias, slope = _sum(context, grad), _sum(context, context.emit("mul", grad, centered))
    factor = rstd if weight is None else context.emit("mul", rstd, _broadcast(context, weight, x))
    grad_x = context.emit("mul", grad, factor)
    if training:
        # Numbers per channel are multiplied first, so that few operators go over the images.
        shift, tilt = (context.scaled(context.emit("mul", n, factor), 1 / _count(x)) for n in (grad_bias, slope))
        tilt = context.emit("mul", tilt, context.emit("mul", rstd, rstd))
        shared = context.emit("add", context.emit("mul", centered, tilt), shift)
        grad_x = context.emit("sub", grad_x, shared)
    grad_weight = context.emit("mul", slope, rstd)
    return grad_x, _per_channel(context, grad_weight), _per_channel(context, grad_bias)


def _batch_norm_over_batch(
    context: Context, x: Value, weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value, ...]:
    """Normalise by the batch's own statistics: the result, and mean, reciprocal deviation and variance."""
    mean = context.scaled(_sum(context, x), 1 / _count(x))
    centered = context.emit("sub", x, mean)
    var = context.scaled(context.sum_square(centered, _pixels(x), keepdim=True), 1 / _count(x))
    rstd = _rstd(context, var, eps)
    y = _scaled_and_shifted(context, centered, rstd, weight, bias)
    return y, *(_per_channel(context, statistic) for statistic in (mean, rstd, var))


def _count(x: Value) -> int:
    """How many elements each channel has."""
    return x.type.numel // x.type.shape[1]


def _batch_norm_with(
    context: Context, x: Value, weight: Value | None, bias: Value | None, mean: Value, var: Value, eps: float
) -> tuple[Value, ...]:
    """Normalise by given statistics, of which PyTorch keeps none."""
    rstd = _rstd(context, _broadcast(context, var, x), eps)
    centered = context.emit("sub", x, _broadcast(context, mean, x))
    y = _scaled_and_shifted(context, centered, rstd, weight, bias)
    kept = context.full((0,), 0, y.type.dtype)
    return y, kept, kept


def _sum(context: Context, x: Value) -> Value:
    """The sum over all axes but the channels, shaped to broadcast with x."""
    return context.sum(x, _pixels(x), keepdim=True)


def _pixels(x: Value) -> tuple[int, ...]:
    """All axes but the channels."""
    return tuple(axis for axis in range(x.type.rank) if axis != 1)


def _rstd(context: Context, var: Value, eps: float) -> Value:
    return context.emit("rsqrt", context.emit("add", var, context.scalar(eps, var.type.dtype)))


def _scaled_and_shifted(
    context: Context, centered: Value, rstd: Value, weight: Value | None, bias: Value | None
) -> Value:
    """centered * rstd * weight + bias; the two factors, which are few numbers, are multiplied first."""
    factor = rstd if weight is None else context.emit("mul", rstd, _broadcast(context, weight, centered))
    y = context.emit("mul", centered, factor)
    return y if bias is None else context.emit("add", y, _broadcast(context, bias, centered))


def _broadcast(context: Context, per_channel: Value, x: Value) -> Value:
    """A value per channel, shaped to broadcast with x [n, channels, ...]."""
    return context.reshape(per_channel, (1, per_channel.type.numel, *([1] * (x.type.rank - 2))))


def _per_channel(context: Context, x: Value) -> Value:
    return context.reshape(x, (math.prod(x.type.shape),))


def _moved(context: Context, running: Value, new: Value, momentum: float) -> Value:
    """The running statistic, moved towards the new one."""
    return context.emit("add", context.scaled(new, momentum), context.scaled(running, 1 - momentum))
