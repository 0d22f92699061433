"""BraggNN: where in a small detector patch the centre of a Bragg peak lies.

After Z. Liu et al., "BraggNN: fast X-ray Bragg peak analysis using deep learning", IUCrJ 9 (2022): a convolution, a
non-local block in which every pixel attends to all others, more convolutions, and dense layers down to two
coordinates.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.bragg_peaks import bragg_peaks
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.optimizers import adamw

SLOPE = 0.01
"""Of the leaky rectifiers."""


class NonLocal(nn.Module):
    """Every pixel of [batch, channels, height, width] plus a weighted mean over all pixels, at half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, -1)
        mixed = value @ weights.transpose(1, 2)
        return x + self.out(mixed.unflatten(2, x.shape[2:]))


class BraggNN(nn.Module):
    """The centre (row, column) of the peak in a patch [batch, 1, size, size], as fractions of its size."""

    def __init__(self, size: int, channels: tuple[int, int, int], dense: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third = channels
        self.conv1 = nn.Conv2d(1, first, 3)
        self.attention = NonLocal(first)
        self.conv2 = nn.Conv2d(first, second, 3)
        self.conv3 = nn.Conv2d(second, third, 3)
        widths = (third * (size - 6) ** 2, *dense)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.centre = nn.Linear(widths[-1], 2)

    def forward(self, patch: Tensor) -> Tensor:
        x = self.attention(self.conv1(patch))
        for layer in (self.conv2, self.conv3):
            x = layer(F.leaky_relu(x, SLOPE))
        x = F.leaky_relu(x, SLOPE).flatten(1)
        for layer in self.dense:
            x = F.leaky_relu(layer(x), SLOPE)
        return self.centre(x)


PATCH = 11
"""Pixels along an edge of a patch."""


def _samples(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
    return {"patch": torch.zeros(batch, 1, PATCH, PATCH)}, {"centre": torch.zeros(batch, 2)}


def _data(seed: int) -> tuple[Arrays, Arrays]:
    return split(bragg_peaks(4608, PATCH, seed), 512)


def _distance(outputs: Outputs, test: Arrays) -> float:
    return float(PATCH * ((outputs["output"] - test["centre"]) ** 2).sum(1).mean() ** 0.5)


ENTRY = Entry(
    name="braggnn",
    title="BraggNN",
    about="Locates Bragg peaks in X-ray detector patches to a fraction of a pixel.",
    source="Z. Liu et al., BraggNN: fast X-ray Bragg peak analysis using deep learning, IUCrJ 9, 2022",
    sizes={
        "tiny": Size(lambda: BraggNN(PATCH, (16, 8, 4), (16, 8)), _samples, 64, "a quarter of the published channels"),
        "full": Size(lambda: BraggNN(PATCH, (64, 32, 8), (64, 32, 16, 8)), _samples, 512, "the paper's figure 2"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(3e-3),
        epochs=8,
        quality=Quality("root mean square distance from the true centre", _distance, 0.4, "pixels"),
    ),
    loss=lambda output, centre: F.mse_loss(output, centre),
)
