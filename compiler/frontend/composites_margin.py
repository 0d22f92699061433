"""Losses that want the score of a target to exceed others by a margin.

Their gradients are those of PyTorch's kernels, which its own decompositions miss: a score that exceeds another by
exactly the margin has none, and what follows the end of a list of targets counts for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

NONE, MEAN, SUM = 0, 1, 2


def multi_margin_loss(
    x: Tensor, target: Tensor, p: float = 1, margin: float = 1, weight: Tensor | None = None, reduction: int = MEAN
) -> Tensor:
    """Over every class but the target: how much its score lacks to be a margin below the target's, to the power p,
    times the target's weight; of scores [batch, classes] or [classes]."""
    rows, wanted = torch.atleast_2d(x), target.reshape(-1, 1)
    lacking = relu(margin - rows.gather(1, wanted) + rows)
    lacking = lacking * lacking if p == 2 else lacking
    if weight is not None:
        lacking = lacking * weight[wanted]
    is_target = torch.arange(rows.shape[1], device=x.device) == wanted
    return _reduced(torch.where(is_target, 0.0, lacking).sum(1) / rows.shape[1], x, reduction)


def multilabel_margin_loss(x: Tensor, target: Tensor, reduction: int = MEAN) -> Tensor:
    """Over every pair of a target and another class: how much the other's score lacks to be 1 below the target's; of
    scores [batch, classes] or [classes], and as many targets, the first of which that is negative ends the list."""
    rows, wanted = torch.atleast_2d(x), torch.atleast_2d(target)
    is_listed = (wanted < 0).long().cumsum(1) == 0
    index = torch.where(is_listed, wanted, 0)
    classes = torch.arange(rows.shape[1], device=x.device)
    is_target = ((index[:, :, None] == classes) & is_listed[:, :, None]).any(1)
    lacking = relu(1 - rows.gather(1, index)[:, :, None] + rows[:, None, :])
    counts = is_listed[:, :, None] & ~is_target[:, None, :]
    return _reduced(torch.where(counts, lacking, 0.0).sum((1, 2)) / rows.shape[1], x, reduction)


def _reduced(losses: Tensor, x: Tensor, reduction: int) -> Tensor:
    if reduction == NONE:
        return losses.reshape(x.shape[:-1])
    return losses.mean() if reduction == MEAN else losses.sum()
