"""Small models for tests, and how to compile and load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sambaflow import samba
from sambaflow.samba import utils

BATCH, FEATURES, CLASSES = 4, 6, 3


class Classifier(nn.Module):
    """A linear layer and a cross entropy; returns the loss and the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.lin_layer = nn.Linear(FEATURES, CLASSES)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out = self.lin_layer(x)
        return self.criterion(out, y), out


def classifier(seed: int = 0) -> Classifier:
    """A converted classifier."""
    torch.manual_seed(seed)
    model = Classifier()
    samba.from_torch_model_(model)
    return model


def batch(size: int = BATCH, seed: int = 1) -> tuple[samba.SambaTensor, samba.SambaTensor]:
    """Named inputs of a classifier."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(size, FEATURES, generator=generator)
    label = torch.randint(CLASSES, (size,), generator=generator)
    return (
        samba.from_torch_tensor(image, name="image", batch_dim=0),
        samba.from_torch_tensor(label, name="label", batch_dim=0),
    )


def compiled(model: nn.Module, inputs: Any, optimizer: Any = None, **options: Any) -> str:
    """The path of a PEF in the working folder."""
    arguments = {"output_folder": "out", "pef_name": "model", **options.pop("arguments", {})}
    return samba.session.compile(model, inputs, optimizer, name="app", config_dict=arguments, **options)


def plain_copy(model: nn.Module) -> nn.Module:
    """The classifier in plain PyTorch, with the same weights."""
    twin = Classifier()
    twin.load_state_dict({name: samba.to_torch(value).clone() for name, value in model.state_dict().items()})
    return twin


def loaded(optimizer_of: Any = None, **options: Any) -> tuple[Classifier, Any, tuple[samba.SambaTensor, ...]]:
    """A classifier compiled and traced: model, inputs, traced outputs."""
    model, inputs = classifier(), batch()
    optimizer = optimizer_of(model.parameters()) if optimizer_of else None
    pef = compiled(model, inputs, optimizer)
    assert Path(pef).is_file()
    return model, inputs, utils.trace_graph(model, inputs, optimizer, pef=pef, **options)
