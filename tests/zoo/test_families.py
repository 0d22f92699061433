"""Families of the transformers library, through the frontend and the reference interpreter: a training step and
inference equal PyTorch's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from tests.frontend.reference import compare_inference, compare_training

pytest.importorskip("transformers")

from tests.zoo import families

HERE = Path(__file__)
MODELS = families.MODELS
ALWAYS = ("Gemma2", "LongT5")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.full) for name in MODELS]
)
def test_training_and_inference_equal_pytorch(name: str) -> None:
    torch.manual_seed(9)
    model, inputs = MODELS[name].make()
    spec = ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.05), file=HERE)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=1)
    spec.model.eval()
    compare_inference(spec, capture(spec, inference=True))
