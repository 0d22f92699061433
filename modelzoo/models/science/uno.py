"""Uno: how a tumour cell responds to a dose of a drug.

After the CANDLE project's Uno benchmark (J. Wozniak et al., "CANDLE/Supervisor", 2018): a tower of dense layers for
each kind of features, and more dense layers, with shortcuts, over all of them and the dose.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.drug_response import drug_response
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.optimizers import adamw

TINY, FULL = (60, 40), (942, 5270)
"""Genes, and descriptors of a drug."""


def tower(inside: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Dense rectified layers."""
    layers: list[nn.Module] = []
    for a, b in zip((inside, *widths), widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers)


class Uno(nn.Module):
    """Growth [batch, 1], relative to untreated cells, for expression, descriptors and the log of the dose."""

    def __init__(self, genes: int, drug: int, widths: tuple[int, ...], trunk: int, layers: int) -> None:
        super().__init__()
        self.genes, self.drug = tower(genes, widths), tower(drug, widths)
        self.enter = nn.Linear(2 * widths[-1] + 1, trunk)
        self.trunk = nn.ModuleList(nn.Linear(trunk, trunk) for _ in range(layers))
        self.growth = nn.Linear(trunk, 1)

    def forward(self, genes: Tensor, drug: Tensor, dose: Tensor) -> Tensor:
        x = F.relu(self.enter(torch.cat([self.genes(genes), self.drug(drug), dose], 1)))
        for layer in self.trunk:
            x = x + F.relu(layer(x))
        return self.growth(x)


def _samples(shape: tuple[int, int]) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        inputs = {"genes": torch.zeros(batch, shape[0]), "drug": torch.zeros(batch, shape[1])}
        return {**inputs, "dose": torch.zeros(batch, 1)}, {"growth": torch.zeros(batch, 1)}

    return of


def _data(seed: int) -> tuple[Arrays, Arrays]:
    return split(drug_response(4608, *TINY, seed), 512)


def _explained(outputs: Outputs, test: Arrays) -> float:
    true = test["growth"]
    return float(1 - ((outputs["output"] - true) ** 2).mean() / true.var())


ENTRY = Entry(
    name="uno",
    title="Uno",
    about="Predicts how tumour cells respond to a dose of a drug, from gene expression and the drug's structure.",
    source="J. Wozniak et al., CANDLE/Supervisor: a workflow framework for machine learning applied to cancer "
    "research, 2018",
    sizes={
        "tiny": Size(lambda: Uno(*TINY, (48, 32), 64, 2), _samples(TINY), 128, "towers of 48 and 32, a trunk of 64"),
        "full": Size(lambda: Uno(*FULL, (1000,) * 3, 1000, 3), _samples(FULL), 512, "layers of width 1000"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(4e-3, eps=3e-4),
        epochs=6,
        quality=Quality("variance of the growth explained", _explained, 0.65, "%", higher_is_better=True),
    ),
    loss=lambda output, growth: F.mse_loss(output, growth),
    notes=(
        "Without dropout.",
        "Batch, rate and eps of the tiny configuration are chosen against rounding: in 320 steps of 64 samples at eps "
        "1e-4, PyTorch's losses in float32 and float64 part by 4e-3, because a rectifier whose input is next to zero "
        "turns with the rounding, and AdamW enlarges what follows. As given here seed 0 is free of that; with seeds 1 "
        "to 3 the losses part by up to 3e-3.",
    ),
)
