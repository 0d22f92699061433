"""U-Net in two or three dimensions: down, up, and across, with convolutions that keep the size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.cells import cells
from modelzoo.entry import Arrays, Outputs, Quality, Recipe, Tensors, split
from modelzoo.optimizers import adamw

LAYERS = {2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d)}


class Double(nn.Module):
    """Two convolutions of width 3, each normalised over the batch and rectified."""

    def __init__(self, dims: int, inside: int, between: int, outside: int) -> None:
        super().__init__()
        conv, _, norm = LAYERS[dims]
        self.conv1, self.norm1 = conv(inside, between, 3, padding=1), norm(between)
        self.conv2, self.norm2 = conv(between, outside, 3, padding=1), norm(outside)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(x)))


class UNet(nn.Module):
    """Logits [batch, 1, *space] for images [batch, channels, *space], whose extents 2 ** depth divides.

    `width` channels at the top, twice as many at each of `depth` levels below.
    """

    def __init__(self, dims: int, channels: int, width: int, depth: int) -> None:
        super().__init__()
        conv, up, _ = LAYERS[dims]
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(Double(dims, a, b, b) for a, b in zip([channels, *widths], widths[:-1]))
        self.bottom = Double(dims, widths[-2], widths[-1], widths[-1])
        self.widen = nn.ModuleList(up(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(Double(dims, 2 * w, w, w) for w in widths[-2::-1])
        self.head = conv(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        across: list[Tensor] = []
        x = image
        for level in self.down:
            across.append(level(x))
            x = self.pool(across[-1])
        x = self.bottom(x)
        for widen, merge in zip(self.widen, self.merge):
            x = merge(torch.cat([widen(x), across.pop()], 1))
        return self.head(x)


def samples(channels: int, shape: tuple[int, ...]) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    """Images and masks of a shape."""

    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        return {"image": torch.zeros(batch, channels, *shape)}, {"mask": torch.zeros(batch, 1, *shape)}

    return of


def loss(output: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy of every pixel."""
    return F.binary_cross_entropy_with_logits(output, mask)


def recipe(shape: tuple[int, ...], count: int, tests: int, epochs: int, goal: float) -> Recipe:
    """Training on cells of a shape."""

    def data(seed: int) -> tuple[Arrays, Arrays]:
        return split(cells(count, shape, seed), tests)

    return Recipe(
        data=data,
        optimizer=adamw(3e-3),
        epochs=epochs,
        quality=Quality("overlap with the true cells (Dice)", dice, goal, "%", higher_is_better=True),
    )


def dice(outputs: Outputs, test: Arrays) -> float:
    """Twice the common area over the sum of both."""
    found, true = outputs["output"] > 0, test["mask"] > 0.5
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))
