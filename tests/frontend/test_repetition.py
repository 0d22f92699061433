"""Models that keep something of a call: compiled where the next call computes the same, refused where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir import interpreter
from ir.errors import CaptureError


class Keeping(nn.Module):
    """A linear layer, then what a test puts in `step`."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.kept: Any = None
        self.count = 0
        self.history: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x)

    def step(self, x: Tensor) -> Tensor:
        """What is done."""
        raise NotImplementedError


class FirstMean(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.linear(x).mean(0)
        return self.linear(x) - self.kept


class FirstMeanInBuffer(Keeping):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", None)

    def step(self, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.mean(0)
        return self.linear(x - self.mean)


class WarmUp(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.linear(x) * (0.1 if self.count < 2 else 1.0)


class Previous(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.history.append(self.linear(x))
        return self.history[0] + self.history[-1]


class OneMask(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.rand(4)
        return self.linear(x) * self.kept


class Swapped(Keeping):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(4, 4)

    def step(self, x: Tensor) -> Tensor:
        self.linear, self.other = self.other, self.linear
        return self.linear(x)


class Grown(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if not hasattr(self, "activation"):
            self.activation = nn.ReLU()
        return self.activation(self.linear(x))


class Once(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if self.count:
            raise RuntimeError("only once")
        self.count = 1
        return self.linear(x)


class StaleWeight(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.linear.weight.abs()
        return x @ self.kept


class Table(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if self.kept is None or len(self.kept) < len(x):
            self.kept = torch.arange(len(x), dtype=torch.float32).cos()
            self.count = len(x)
        return self.linear(x) * self.kept[: len(x), None] * torch.tensor(3.0)


class Inspected(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.kept = self.linear(x)
        self.history.append(self.kept)
        self.count += 1
        return self.norm(torch.dropout(self.kept, 0.5, self.training))


REFUSED = [FirstMean, FirstMeanInBuffer, WarmUp, Previous, OneMask, Once, Swapped]
ACCEPTED = [Table, Inspected, Grown]


def captured(model: nn.Module, inference: bool) -> Captured:
    return capture(ModelSpec(model, {"x": torch.randn(3, 4)}, every_gradient=True), inference=inference)


@pytest.mark.parametrize("model", REFUSED)
@pytest.mark.parametrize("inference", [True, False])
def test_what_changes_the_next_call_is_refused(model: type[Keeping], inference: bool) -> None:
    subject = model()
    with pytest.raises(
        CaptureError, match=r"forward leaves (kept|mean|count|history|linear) .*behind, and the next call"
    ) as told:
        captured(subject, inference)
    assert "register a buffer" in str(told.value)
    assert (subject.kept, subject.count, subject.history) == (None, 0, [])


@pytest.mark.parametrize("model", ACCEPTED)
@pytest.mark.parametrize("inference", [True, False])
def test_what_changes_nothing_compiles(model: type[Keeping], inference: bool) -> None:
    assert captured(model(), inference).program.graphs


def test_a_weight_kept_in_another_form_is_stale_only_in_training() -> None:
    assert captured(StaleWeight(), inference=True).program.graphs
    with pytest.raises(CaptureError, match="forward leaves kept behind"):
        captured(StaleWeight(), inference=False)


def test_the_second_call_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model = Table().eval()
    x = torch.randn(3, 4)
    found = capture(ModelSpec(model, {"x": x}), inference=True)
    outputs = interpreter.run(found.program.graphs[0], found.values)
    np.testing.assert_allclose(outputs["output"], model(x).detach(), rtol=1e-5, atol=1e-6)
