"""Models of the zoo through the frontend and the reference interpreter, beside PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from tests.frontend.reference import compare_inference, compare_training
from tests.zoo.entry import Entry


def assert_equal_to_pytorch(entry: Entry, seed: int, file: Path) -> None:
    """A training step by SGD, and then inference, equal PyTorch's."""
    torch.manual_seed(seed)
    model, inputs = entry.make()
    spec = ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.05), file=file)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=1)
    spec.model.eval()
    compare_inference(spec, capture(spec, inference=True))
