"""What the models that classify images have in common: galaxies to learn from, samples, loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.data.galaxies import KINDS, galaxies
from modelzoo.entry import Arrays, Outputs, Quality, Recipe, Tensors, split
from modelzoo.optimizers import adamw

TINY_PIXELS = 24


def samples(pixels: int, channels: int) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    """Square images and their kinds."""

    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        kind = torch.zeros(batch, dtype=torch.int64)
        return {"image": torch.zeros(batch, channels, pixels, pixels)}, {"kind": kind}

    return of


def loss(output: Tensor, kind: Tensor) -> Tensor:
    """Cross entropy."""
    return F.cross_entropy(output, kind)


def recipe(epochs: int, rate: float, goal: float, count: int = 1280) -> Recipe:
    """Training on galaxies of four kinds."""

    def data(seed: int) -> tuple[Arrays, Arrays]:
        return split(galaxies(count, TINY_PIXELS, seed), count // 5)

    return Recipe(
        data=data,
        optimizer=adamw(rate),
        epochs=epochs,
        quality=Quality(f"galaxies of {len(KINDS)} kinds told right", accuracy, goal, "%", higher_is_better=True),
    )


def accuracy(outputs: Outputs, test: Arrays) -> float:
    """The share of images whose kind is found."""
    return float(np.mean(outputs["output"].argmax(1) == test["kind"]))
