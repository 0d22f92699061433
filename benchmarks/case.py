"""What a benchmark runs: a model and a batch of inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Case:
    """A model with a batch of inputs, large enough that PyTorch takes tens of milliseconds for a training step."""

    model: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    description: str
