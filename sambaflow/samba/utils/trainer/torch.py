"""A training loop in plain PyTorch, to compare with."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer


def train(args: argparse.Namespace, model: nn.Module, loader: Iterable[Any], optimizer: Optimizer) -> list[float]:
    """One epoch over `loader`; returns the loss of each step (the mean of the first output)."""
    losses = []
    for batch in loader:
        outputs = model(*batch)
        loss = (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).float().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
