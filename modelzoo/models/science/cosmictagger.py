"""CosmicTagger: tells a neutrino's tracks from those of cosmic rays, pixel by pixel, in three views of one event.

After C. Adams et al., "Cosmic background removal with deep neural networks in SBND", 2021: a residual U-Net with the
same weights for all views, which see one another where the images are smallest.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.tracks import BACKGROUND, PLANES, tracks
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.optimizers import adamw

CLASSES = 3
TINY, FULL = (32, 32), (640, 1024)
"""Drift times and wires of a view."""
WEIGHTS = (0.3, 1.5, 1.5)
"""Of background, cosmic and neutrino pixels in the loss: almost all pixels are background."""


class Residual(nn.Module):
    """Two convolutions beside the identity, which a new block is: its second norm begins with a weight of zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


def blocks(width: int, count: int) -> nn.Sequential:
    """Residual blocks one after another."""
    return nn.Sequential(*(Residual(width) for _ in range(count)))


class CosmicTagger(nn.Module):
    """Logits [batch, classes, planes, height, width] for deposits [batch, planes, height, width]."""

    def __init__(self, width: int, depth: int, per_level: int, deepest: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.stem = nn.Conv2d(1, width, 7, padding=3)
        self.down = nn.ModuleList(blocks(w, per_level) for w in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(widths))
        self.bottom = nn.Sequential(nn.Conv2d(PLANES * widths[-1], widths[-1], 1), blocks(widths[-1], deepest))
        self.spread = nn.Conv2d(widths[-1], PLANES * widths[-1], 1)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.up = nn.ModuleList(blocks(w, per_level) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, CLASSES, 1)

    def forward(self, planes: Tensor) -> Tensor:
        batch = planes.shape[0]
        x = self.stem(planes.flatten(0, 1)[:, None])
        across: list[Tensor] = []
        for level, shrink in zip(self.down, self.shrink):
            across.append(level(x))
            x = F.relu(shrink(across[-1]))
        x = self.spread(self.bottom(x.unflatten(0, (batch, PLANES)).flatten(1, 2)))
        x = x.unflatten(1, (PLANES, -1)).flatten(0, 1)
        for grow, level in zip(self.grow, self.up):
            x = level(grow(x) + across.pop())
        return self.head(x).unflatten(0, (batch, PLANES)).transpose(1, 2)


def _samples(shape: tuple[int, int]) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        label = torch.zeros(batch, PLANES, *shape, dtype=torch.int64)
        return {"planes": torch.zeros(batch, PLANES, *shape)}, {"label": label}

    return of


def _loss(output: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(output, label, weight=output.new_tensor(WEIGHTS))


def _data(seed: int) -> tuple[Arrays, Arrays]:
    return split(tracks(432, *TINY, seed), 48)


def _accuracy(outputs: Outputs, test: Arrays) -> float:
    deposits = test["label"] != BACKGROUND
    return float(np.mean((outputs["output"].argmax(1) == test["label"])[deposits]))


ENTRY = Entry(
    name="cosmictagger",
    title="CosmicTagger",
    about="Tells a neutrino's tracks from cosmic rays in a liquid argon chamber, pixel by pixel in three views.",
    source="C. Adams et al., Cosmic background removal with deep neural networks in SBND, 2021",
    sizes={
        "tiny": Size(lambda: CosmicTagger(6, 2, 1, 1), _samples(TINY), 16, "two levels, 32 x 32 pixels"),
        "full": Size(lambda: CosmicTagger(16, 6, 2, 5), _samples(FULL), 1, "six levels, 640 x 1024 pixels"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(2e-3, eps=1e-3),
        epochs=9,
        quality=Quality("pixels with deposits told right", _accuracy, 0.8, "%", higher_is_better=True),
    ),
    loss=_loss,
)
