"""A training loop on the device."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from torch import nn

from sambaflow.samba.sambaloader import SambaLoader
from sambaflow.samba.sambatensor import to_torch
from sambaflow.samba.session import current_session


def train(
    args: argparse.Namespace,
    model: nn.Module,
    loader: Iterable[Any],
    names: tuple[str, ...] = ("image", "label"),
    hyperparam_dict: dict[str, float] | None = None,
) -> list[float]:
    """One epoch over `loader` for a traced model; returns the loss of each step (the mean of the first output)."""
    losses = []
    for inputs in SambaLoader(loader, names):
        outputs = current_session().run(inputs, model.output_tensors, hyperparam_dict=hyperparam_dict)
        losses.append(to_torch(outputs[0]).float().mean().item())
    return losses
