"""Connectionist temporal classification, as sums over alignments, time step by time step.

An alignment walks through the labels with blanks between, before and after them: it stays, goes on by one, or over a
blank between different labels. The sums are kept as logarithms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

IMPOSSIBLE = -1e30
"""The logarithm of no probability: finite, so that gradients of what cannot happen are zeros."""

NONE, MEAN, SUM = 0, 1, 2


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: int = MEAN,
    zero_infinity: bool = False,
) -> Tensor:
    """The negative logarithm of the probability of the targets [batch, labels], or of all labels one after another,
    under log_probs [time, batch, classes]; without the batch for a single sequence."""
    is_single = log_probs.dim() == 2
    if is_single:
        log_probs, targets = log_probs[:, None], targets.reshape(1, -1)
    times, lengths = (_numbers(given, log_probs) for given in (input_lengths, target_lengths))
    if targets.dim() == 1:
        targets = _rows(targets, lengths)
    loss = -_log_likelihood(log_probs, targets, times, lengths, blank)
    loss = _as_if_normalized(loss, log_probs, times)
    loss = torch.where(loss > -IMPOSSIBLE / 2, float("inf"), loss)
    if zero_infinity:
        loss = torch.where(loss == float("inf"), 0.0, loss)
    if reduction == MEAN:
        return (loss / lengths.clamp(min=1).to(loss.dtype)).mean()
    return loss.sum() if reduction == SUM else loss[0] if is_single else loss


def _numbers(given: Tensor | Sequence[int], like: Tensor) -> Tensor:
    """Lengths as a tensor of one axis."""
    if isinstance(given, Tensor):
        return given.reshape(-1)
    return torch.tensor(list(given), dtype=torch.int64, device=like.device)


def _rows(labels: Tensor, lengths: Tensor) -> Tensor:
    """Labels that stand one after another, by sequence; what lies beyond a sequence's length is any label."""
    ends = torch.cumsum(lengths, 0)
    places = (ends - lengths)[:, None] + torch.arange(labels.numel(), device=labels.device)
    return labels[places.clamp(max=labels.numel() - 1)]


def _log_likelihood(log_probs: Tensor, targets: Tensor, times: Tensor, lengths: Tensor, blank: int) -> Tensor:
    steps, batch, _ = log_probs.shape
    labels = targets.to(torch.int64)
    walk = torch.stack([torch.full_like(labels, blank), labels], 2).reshape(batch, -1)
    walk = torch.cat([walk, torch.full_like(walk[:, :1], blank)], 1)
    told = log_probs.gather(2, walk.expand(steps, *walk.shape))
    skips = torch.cat([walk[:, 2:] != walk[:, :-2], torch.zeros_like(walk[:, :2], dtype=torch.bool)], 1)
    skips = torch.roll(skips & (torch.roll(walk, -2, 1) != blank), 2, 1)
    first = torch.arange(walk.shape[1], device=walk.device) < 2
    sums = torch.where(first, told[0], IMPOSSIBLE)
    for step in range(1, steps):
        by_one = torch.nn.functional.pad(sums[:, :-1], (1, 0), value=IMPOSSIBLE)
        by_two = torch.nn.functional.pad(sums[:, :-2], (2, 0), value=IMPOSSIBLE)
        ways = torch.stack([sums, by_one, torch.where(skips, by_two, IMPOSSIBLE)])
        sums = torch.where((step < times)[:, None], torch.logsumexp(ways, 0) + told[step], sums)
    last = 2 * lengths.to(torch.int64)[:, None]
    ends = torch.cat([sums.gather(1, last), sums.gather(1, (last - 1).clamp(min=0))], 1)
    has_label = torch.cat([last >= 0, last > 0], 1)
    return torch.logsumexp(torch.where(has_label, ends, IMPOSSIBLE), 1)


def _as_if_normalized(loss: Tensor, log_probs: Tensor, times: Tensor) -> Tensor:
    """The same loss, with the gradient that PyTorch gives: that of a loss in which the probabilities of each step are
    divided by their sum, which is one where they come from log_softmax."""
    steps = torch.arange(len(log_probs), device=log_probs.device)
    counted = (steps[:, None] < times)[:, :, None]
    total = torch.where(counted, torch.exp(log_probs), 0.0).sum((0, 2))
    return loss + (total - total.detach())


CTC: dict[Any, Callable[..., Any]] = dict.fromkeys((aten.ctc_loss.Tensor, aten.ctc_loss.IntList), ctc_loss)
"""By ATen overload."""
