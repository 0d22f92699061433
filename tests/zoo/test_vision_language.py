"""Models that read images beside text, through the frontend and the reference interpreter: a training step and
inference equal PyTorch's. Their checks of values are left out, as they only raise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from tests.frontend.reference import compare_inference, compare_training

transformers = pytest.importorskip("transformers")

from tests.zoo import vision_language  # noqa: E402

HERE = Path(__file__)
MODELS = vision_language.MODELS
ALWAYS = ("llava",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.full) for name in MODELS]
)
def test_training_and_inference_equal_pytorch(name: str) -> None:
    torch.manual_seed(8)
    model, inputs = MODELS[name].make()
    spec = ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.05), file=HERE)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=1)
    spec.model.eval()
    compare_inference(spec, capture(spec, inference=True))
