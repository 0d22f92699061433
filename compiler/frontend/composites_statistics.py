"""Normalisation that keeps running statistics, as operators that say what they write.

PyTorch's own write into the statistics though their schemas do not say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:
    """Batch norm over [batch, channels, ...], moving the running statistics when training."""
    if x.dim() == 1:  # PyTorch takes one axis where there are no channels, and nothing to do
        return x.clone()
    if not training or running_mean is None or running_var is None:
        arguments = (x, weight, bias, running_mean, running_var, training, momentum, eps, False)
        normalized: Tensor = aten.batch_norm(*arguments)
        return normalized
    return _moving(x, weight, bias, running_mean, running_var, momentum, eps)[0]


def native_batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm, with the mean and the reciprocal deviation of the batch."""
    running_mean, running_var, training, momentum, eps = rest[2:]
    if not training or running_mean is None or running_var is None:
        made = aten.native_batch_norm(x, *rest)
        return made[0], made[1], made[2]
    return _moving(x, rest[0], rest[1], running_mean, running_var, momentum, eps)


def _moving(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm, its mean and the reciprocal deviation. The running statistics move first where a checkpoint runs
    again: it stops as soon as autograd has saved what it needs."""
    before = running_mean.clone(), running_var.clone()
    made = None
    if torch._C._current_graph_task_id() == -1:
        made = moved = aten._native_batch_norm_legit_functional(x, weight, bias, *before, True, momentum, eps)
    else:
        with torch.no_grad():
            moved = aten._native_batch_norm_legit_functional(x, weight, bias, *before, True, momentum, eps)
    with torch.no_grad():
        running_mean.copy_(moved[3])
        running_var.copy_(moved[4])
    if made is None:
        made = aten._native_batch_norm_legit_functional(x, weight, bias, *before, True, momentum, eps)
    return made[0], made[1], made[2]


def instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:
    """Batch norm of every image by itself; the running statistics are the mean over all images."""
    if running_mean is None or running_var is None:
        normalized: Tensor = aten.instance_norm(x, weight, bias, None, None, use_input_stats, momentum, eps, False)
        return normalized
    batch, channels = x.shape[:2]
    each = [None if tensor is None else tensor.repeat(batch) for tensor in (weight, bias, running_mean, running_var)]
    mean, var = (tensor for tensor in each[2:] if tensor is not None)
    images = x.contiguous().reshape(1, batch * channels, *x.shape[2:])
    y = batch_norm(images, each[0], each[1], mean, var, use_input_stats, momentum, eps)
    if use_input_stats:
        with torch.no_grad():
            running_mean.copy_(mean.view(batch, channels).mean(0))
            running_var.copy_(var.view(batch, channels).mean(0))
    return y.reshape(x.shape)


STATISTICS: dict[Any, Callable[..., Any]] = {
    aten.batch_norm.default: batch_norm,
    aten.native_batch_norm.default: native_batch_norm,
    aten.instance_norm.default: instance_norm,
}
"""By ATen overload."""
