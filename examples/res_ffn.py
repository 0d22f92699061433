"""A residual feed-forward network with two activation functions, ending in a logistic regression over ten digits.

    snc compile examples/res_ffn.py -b 64

Two wide layers, each followed by a layer norm, with the first one's activations added back after the second. The
features are the 8x8 images of scikit-learn's digits; the numbers here are random, training data is given to the run.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

FEATURES = 64
HIDDEN = 256
CLASSES = 10


class ResFFNLogReg(nn.Module):
    """Feed-forward network with a residual connection; returns the loss and the logits."""

    def __init__(self, num_features: int = FEATURES, hidden_size: int = HIDDEN, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.gemm1 = nn.Linear(num_features, hidden_size, bias=False)
        self.norm1 = nn.LayerNorm(hidden_size)
        self.gemm2 = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm2 = nn.LayerNorm(hidden_size)
        self.gemm3 = nn.Linear(hidden_size, num_classes, bias=False)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, classes] of features [batch, features] and labels [batch]."""
        residual = torch.tanh(self.norm1(self.gemm1(image)))
        out = self.norm2(self.gemm2(residual))
        out = out + residual
        logits = self.gemm3(torch.sigmoid(out))
        loss = self.criterion(logits, label)
        return loss, logits


model = ResFFNLogReg


def inputs(batch_size: int = 64) -> dict[str, Tensor]:
    """Random features and labels."""
    return {"image": torch.randn(batch_size, FEATURES), "label": torch.randint(CLASSES, (batch_size,))}


def optimizer(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-4)
