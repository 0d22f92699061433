"""The optimizer of the zoo's recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

EPS = 1e-4
"""Far above the rounding of gradients.

AdamW divides a gradient by its own size: with the usual 1e-8, parameters that have no gradient but for rounding, such
as the bias of attention's keys, move at random, and two runs drift apart.
"""


def adamw(rate: float, eps: float = EPS) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    """AdamW at a learning rate."""
    return lambda parameters: torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, eps=eps)
