"""AI4Polymers: a property of a polymer from the sequence of its monomers.

Nothing public describes a model of this name; this is a transformer encoder over monomers with a head for a property,
after C. Xu et al., "TransPolymer: a transformer-based language model for polymer property predictions", 2023.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.polymers import MONOMERS, polymers
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.models.science.vit import Attention, Layer
from modelzoo.optimizers import adamw

TINY, FULL = 32, 512
"""Monomers in a chain."""
FULL_VOCABULARY = 50265
"""Of the tokens of chemical formulas that the published model reads."""


class PolymerTransformer(nn.Module):
    """A property [batch, 1] for tokens [batch, length]."""

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, heads: int, feed: int) -> None:
        super().__init__()
        self.units, self.places = nn.Embedding(vocabulary, width), nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.Sequential(*(Layer(Attention(width, heads), width, feed) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, monomers: Tensor) -> Tensor:
        x = self.layers(self.units(monomers) + self.places)
        return self.head(self.norm(x).mean(1))


def _samples(length: int) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    def of(batch: int, given: int | None) -> tuple[Tensors, Tensors]:
        return {"monomers": torch.zeros(batch, length, dtype=torch.int64)}, {"log_radius": torch.zeros(batch, 1)}

    return of


def _data(seed: int) -> tuple[Arrays, Arrays]:
    return split(polymers(1792, TINY, seed), 256)


def _explained(outputs: Outputs, test: Arrays) -> float:
    true = test["log_radius"]
    return float(1 - ((outputs["output"] - true) ** 2).mean() / true.var())


def _full() -> PolymerTransformer:
    return PolymerTransformer(FULL_VOCABULARY, FULL, 768, 6, 12, 3072)


ENTRY = Entry(
    name="ai4polymers",
    title="AI4Polymers",
    about="Predicts a property of a copolymer, here its size in solution, from the sequence of its monomers.",
    source="C. Xu et al., TransPolymer: a transformer-based language model for polymer property predictions, 2023",
    sizes={
        "tiny": Size(
            lambda: PolymerTransformer(MONOMERS, TINY, 32, 2, 4, 64), _samples(TINY), 32, "two layers of width 32"
        ),
        "full": Size(_full, _samples(FULL), 16, "six layers of width 768, 512 tokens"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(2e-3),
        epochs=6,
        quality=Quality("variance of the log radius explained", _explained, 0.85, "%", higher_is_better=True),
    ),
    loss=lambda output, log_radius: F.mse_loss(output, log_radius),
    notes=("Nothing public describes a model of this name: read it as a transformer over monomers.",),
)
