"""AutoDiCNN: how every point of a surface moved between two images of its speckles.

Nothing public describes a model of this name; this is a convolutional encoder and decoder for digital image
correlation after R. Yang et al., "Deep DIC: deep learning-based digital image correlation for end-to-end displacement
and strain measurement", 2022.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.speckles import speckles
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.optimizers import adamw

TINY, FULL = 24, 128
"""Pixels along an edge."""
SCALE = 0.5
"""Of the loss, per pixel of displacement."""


class AutoDiCNN(nn.Module):
    """Displacements [batch, 2, size, size] in pixels for pairs of images [batch, 2, size, size]."""

    def __init__(self, width: int, depth: int, kernel: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.stem = nn.Conv2d(2, width, kernel, padding=kernel // 2)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, [*widths[1:], 2 * widths[-1]]))
        self.middle = nn.Conv2d(2 * widths[-1], 2 * widths[-1], 3, padding=1)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 4, 2, 1) for w in widths[::-1])
        self.merge = nn.ModuleList(nn.Conv2d(2 * w, w, 3, padding=1) for w in widths[::-1])
        self.head = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, pair: Tensor) -> Tensor:
        x = F.relu(self.stem(pair))
        across: list[Tensor] = []
        for layer in self.down:
            across.append(x)
            x = F.relu(layer(x))
        x = F.relu(self.middle(x))
        for up, merge in zip(self.up, self.merge):
            x = F.relu(merge(torch.cat([up(x), across.pop()], 1)))
        return self.head(x)


def _samples(size: int) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        pair = torch.zeros(batch, 2, size, size)
        return {"pair": pair}, {"displacement": pair.clone()}

    return of


def _data(seed: int) -> tuple[Arrays, Arrays]:
    return split(speckles(640, TINY, seed), 64)


def _distance(outputs: Outputs, test: Arrays) -> float:
    return float(((outputs["output"] - test["displacement"]) ** 2).sum(1).mean() ** 0.5)


ENTRY = Entry(
    name="autodicnn",
    title="AutoDiCNN",
    about="Measures how a surface deforms from two images of its speckles.",
    source="R. Yang et al., Deep DIC: deep learning-based digital image correlation, 2022",
    sizes={
        "tiny": Size(lambda: AutoDiCNN(12, 2, 5), _samples(TINY), 16, "two levels from 12 channels, 24 pixels"),
        "full": Size(lambda: AutoDiCNN(64, 4, 7), _samples(FULL), 8, "four levels from 64 channels, 128 pixels"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(1e-3),
        epochs=5,
        quality=Quality("root mean square error of displacements of up to 2 pixels", _distance, 0.5, "pixels"),
    ),
    loss=lambda output, displacement: F.mse_loss(output, displacement) * SCALE,
    notes=("Nothing public describes a model of this name: read it as digital image correlation.",),
)
