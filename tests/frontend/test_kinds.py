"""What `type` says in a model's code while it is traced."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from tests.frontend.reference import compare_inference, compare_training


class Asking(nn.Module):
    """A layer whose way depends on the classes of its tensors, as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x: Any) -> Tensor:
        assert type(self) is Asking and isinstance(Asking, type) and issubclass(type(x), Tensor)
        assert type("Made", (object,), {}).__name__ == "Made" and type(x.dim()) is int and str(type[int]) == "type[int]"
        if type(x) == torch.Tensor:  # noqa: E721
            x = [x, x * 0.5]
        y = torch.stack([self.linear(one) for one in x])
        if type(self.linear.weight) is nn.Parameter and type(self.scale) is Tensor and type(y) is Tensor:
            y = y * self.scale * 2
        return y.square().mean()


def test_tensors_are_of_the_class_they_have_when_the_model_runs() -> None:
    torch.manual_seed(2)
    model = Asking()
    inputs = {"x": torch.randn(3, 4)}
    compare_inference(ModelSpec(model, inputs), capture(ModelSpec(model, inputs), inference=True))
    spec = ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.1))
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=2)
    assert "type" not in vars(sys.modules[__name__])
