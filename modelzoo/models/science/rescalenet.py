"""RescaleNet: a residual network that needs no normalisation.

After J. Shao et al., "Is normalization indispensable for training deep neural networks?", 2020: the sum of a block's
input and its change is weighted so that the variance stays what it is, layer after layer; every convolution has a
bias, every block a learnt scale.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.galaxies import KINDS
from modelzoo.entry import Entry, Size
from modelzoo.models.science.images import TINY_PIXELS, loss, recipe, samples


class Block(nn.Module):
    """The `number`-th of all blocks, counted from 1: sqrt((k + n - 1) / (k + n)) x + sqrt(1 / (k + n)) F(x)."""

    def __init__(self, inside: int, between: int, outside: int, stride: int, number: int, blocks: int) -> None:
        super().__init__()
        total = blocks + number
        self.kept, self.added = math.sqrt((total - 1) / total), math.sqrt(1 / total)
        self.conv1 = nn.Conv2d(inside, between, 1)
        self.conv2 = nn.Conv2d(between, between, 3, stride, 1)
        self.conv3 = nn.Conv2d(between, outside, 1)
        self.scale = nn.Parameter(torch.ones(1))
        same = stride == 1 and inside == outside
        self.short = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride)
        for layer in (self.conv1, self.conv2, self.conv3):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.kept * self.short(x) + self.added * self.scale * self.conv3(y))


class RescaleNet(nn.Module):
    """Logits [batch, classes] for images; `layers` blocks at each width, which doubles as the image halves."""

    def __init__(self, channels: int, width: int, layers: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 7, 2, 3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Module] = []
        inside = width
        for level, count in enumerate(layers):
            between = width * 2**level
            for place in range(count):
                stride = 2 if place == 0 and level > 0 else 1
                blocks.append(Block(inside, between, 4 * between, stride, len(blocks) + 1, sum(layers)))
                inside = 4 * between
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inside, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(self.pool(F.relu(self.stem(image))))
        return self.head(x.mean((2, 3)))


ENTRY = Entry(
    name="rescalenet",
    title="RescaleNet",
    about="Classifies images with a residual network that needs no normalisation.",
    source="J. Shao et al., Is normalization indispensable for training deep neural networks?, 2020",
    sizes={
        "tiny": Size(
            lambda: RescaleNet(1, 12, (1, 1), len(KINDS)),
            samples(TINY_PIXELS, 1),
            512,
            "two blocks, 24 pixels",
        ),
        "50": Size(
            lambda: RescaleNet(3, 64, (3, 4, 6, 3), 1000), samples(224, 3), 8, "the paper's 50 layers, 224 pixels"
        ),
    },
    recipe=recipe(14, 1.2e-3, 0.7),
    loss=loss,
    notes=("Without the dropout before the last layer.",),
)
