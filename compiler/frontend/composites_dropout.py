"""Dropout and its relatives: each reads its rate at run time.

What drops single elements is ATen's `native_dropout`. The others are made of `snc::keep_mask`, which gives the mask and
the rate as tensors, so that what depends on the rate is computed on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

SELU_FLOOR = 1.7580993408473766
"""The least that SELU gives is minus this; alpha dropout puts it in place of what it drops (Klambauer et al., 2017)."""


@torch.library.custom_op("snc::keep_mask", mutates_args=())  # type: ignore[untyped-decorator]
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


@torch.library.custom_op("snc::sealed_dropout", mutates_args=())  # type: ignore[untyped-decorator]
def sealed_dropout(x: Tensor, p: float, train: bool, kind: str) -> Tensor:
    """A dropout that PyTorch cannot take apart, which it would do where it makes a graph functional."""
    return KINDS[kind](x, p, train).clone()


@sealed_dropout.register_fake  # type: ignore[untyped-decorator]
def _(x: Tensor, p: float, train: bool, kind: str) -> Tensor:
    return torch.empty_like(x)


def seal(graph: fx.Graph) -> None:
    """Replace every dropout by a sealed one, followed by a copy where it works in place."""
    kinds = {getattr(aten, kind).default: kind for kind in KINDS}
    in_place = {getattr(aten, f"{kind}_").default: kind for kind in KINDS}
    for node in list(graph.nodes):
        kind = kinds.get(node.target) or in_place.get(node.target)
        if kind is None:
            continue
        with graph.inserting_before(node):
            result = graph.call_function(torch.ops.snc.sealed_dropout.default, (*node.args, kind))
            result.meta.update(node.meta)
            if node.target in in_place:
                result = graph.call_function(aten.copy_.default, (node.args[0], result))
                result.meta.update(node.meta)
        node.replace_all_uses_with(result)
        graph.erase_node(node)


DROPOUT: dict[Any, Callable[..., Tensor]] = {
    **{getattr(aten, kind).default: function for kind, function in KINDS.items()},
    torch.ops.snc.sealed_dropout.default: lambda x, p, train, kind: KINDS[kind](x, p, train),
}
"""What to trace instead of each dropout."""
