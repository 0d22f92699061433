"""ResNet-18 for colour images in a hundred classes.

    snc compile examples/resnet.py -b 4 --inference

Four groups of residual blocks, each with half the pixels and twice the channels of the one before. Images are
64 x 64 and random here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGE = 64
CLASSES = 100


class Block(nn.Module):
    """Two convolutions with batch norm beside a shortcut."""

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outward)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inward != outward:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inward, outward, 1, stride, bias=False),
                nn.BatchNorm2d(outward),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features [batch, outward, height / stride, width / stride] of [batch, inward, height, width]."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, groups of residual blocks, a mean over the pixels, and a classifier."""

    def __init__(self, blocks: tuple[int, ...] = (2, 2, 2, 2), width: int = 64, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        layers: list[nn.Module] = []
        inward = width
        for group, count in enumerate(blocks):
            outward = width << group
            for number in range(count):
                layers.append(Block(inward, outward, 2 if group and not number else 1))
                inward = outward
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(inward, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, 3, IMAGE, IMAGE]."""
        x = self.pool(torch.relu(self.norm(self.stem(image))))
        x = self.blocks(x)
        return self.classifier(x.mean(dim=(2, 3)))


model = ResNet


def inputs(batch_size: int = 4) -> dict[str, Tensor]:
    """Random images."""
    return {"image": torch.randn(batch_size, 3, IMAGE, IMAGE)}
