"""Dropout and its relatives: each reads its rate at run time.

What drops single elements is ATen's `native_dropout`. The others are made of `snc::keep_mask`, which gives the mask and
the rate as tensors, so that what depends on the rate is computed on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

SELU_FLOOR = 1.7580993408473766
"""The least that SELU gives is minus this; alpha dropout puts it in place of what it drops (Klambauer et al., 2017)."""


@torch.library.custom_op("snc::keep_mask", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))  # type: ignore[untyped-decorator]
def keep_mask(like: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """True with probability 1 - p, of the shape of `like`; and p, of its element type."""
    return torch.rand(like.shape) >= p, torch.full((), p, dtype=like.dtype)


@keep_mask.register_fake  # type: ignore[untyped-decorator]
def _(like: Tensor, p: float) -> tuple[Tensor, Tensor]:
    return torch.empty(like.shape, dtype=torch.bool), torch.empty((), dtype=like.dtype)


def dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """Dropout as one operator, whose mask the backward pass reads again."""
    dropped: Tensor = torch.native_dropout(x, p, train)[0] if train and p > 0 else x
    return dropped


def feature_dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels of [batch, channels, ...] at zero, the others over 1 - p."""
    if not train or p in (0, 1):
        return x * 0 if train and p == 1 else x
    keep, rate = keep_mask(_channels(x), p)
    return torch.where(keep, x / (1 - rate), 0)


def alpha_dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """Dropout that keeps mean and variance of what SELU gives: a (x or -alpha) + b."""
    return _alpha(x, x.detach(), p, train)


def feature_alpha_dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """Alpha dropout of whole channels."""
    return _alpha(x, _channels(x), p, train)


def _alpha(x: Tensor, like: Tensor, p: float, train: bool) -> Tensor:
    if not train or p in (0, 1):
        return x * 0 if train and p == 1 else x
    keep, rate = keep_mask(like, p)
    scale = torch.rsqrt((SELU_FLOOR**2 * rate + 1) * (1 - rate))
    return (torch.where(keep, x, -SELU_FLOOR) + SELU_FLOOR * rate) * scale


def _channels(x: Tensor) -> Tensor:
    """One element for each channel."""
    detached = x.detach()
    for dim in range(2, x.dim()):
        detached = detached.narrow(dim, 0, 1)
    return detached


KINDS: dict[str, Callable[[Tensor, float, bool], Tensor]] = {
    "dropout": dropout,
    "feature_dropout": feature_dropout,
    "alpha_dropout": alpha_dropout,
    "feature_alpha_dropout": feature_alpha_dropout,
}
"""Every dropout of ATen by its name."""


DROPOUT: dict[Any, Callable[..., Tensor]] = {getattr(aten, kind).default: function for kind, function in KINDS.items()}
"""What to trace instead of each dropout."""
