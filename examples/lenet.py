"""LeNet-5 for 28x28 grey images in ten classes.

    snc compile examples/lenet.py -b 32

Two convolutions with max pooling, then three fully connected layers. It trains on any data of that shape, such as
MNIST; the images here are random.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

IMAGE = 28
CLASSES = 10


class LeNet(nn.Module):
    """Convolutions and pooling, then a classifier; returns the loss and the logits."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, classes] of images [batch, 1, 28, 28] and labels [batch]."""
        features = self.pool1(torch.relu(self.conv1(image)))
        features = self.pool2(torch.relu(self.conv2(features)))
        hidden = torch.relu(self.fc1(features.flatten(1)))
        hidden = torch.relu(self.fc2(hidden))
        logits = self.fc3(hidden)
        loss = self.criterion(logits, label)
        return loss, logits


model = LeNet


def inputs(batch_size: int = 32) -> dict[str, Tensor]:
    """Random images and labels."""
    return {"image": torch.randn(batch_size, 1, IMAGE, IMAGE), "label": torch.randint(CLASSES, (batch_size,))}


def optimizer(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
