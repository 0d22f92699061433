"""Models that keep something of a call: compiled where the next call computes the same, refused where it does not."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable
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


class WarmUpOfHundred(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.linear(x) * (0.1 if self.count < 100 else 1.0)


class CountDown(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.count -= 1
        return self.linear(x) * (0.1 if self.count > -100 else 1.0)


class EveryTenth(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.linear(x) * (2.0 if self.count % 10 == 0 else 1.0)


class CountInDict(Keeping):
    def __init__(self) -> None:
        super().__init__()
        self.kept = {"count": 0}

    def step(self, x: Tensor) -> Tensor:
        self.kept["count"] += 1
        return self.linear(x) * (0.1 if self.kept["count"] < 100 else 1.0)


class ReportsEveryTenth(Keeping):
    def step(self, x: Tensor) -> Tensor:
        self.count += 1
        if self.count % 10 == 0:
            self.history.append(self.count)
        return self.linear(x)


REFUSED = [FirstMean, FirstMeanInBuffer, WarmUp, Previous, OneMask, Once, Swapped]
REFUSED_LATER = [WarmUpOfHundred, CountDown, EveryTenth, CountInDict]
ACCEPTED = [Table, Inspected, Grown, ReportsEveryTenth]


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


@pytest.mark.parametrize("model", REFUSED_LATER)
@pytest.mark.parametrize("inference", [True, False])
def test_what_changes_a_later_call_is_refused(model: type[Keeping], inference: bool) -> None:
    with pytest.raises(CaptureError, match=r"forward leaves (kept|count) behind, and a later call computes something"):
        captured(model(), inference)


calls = 0
seen: list[Tensor] = []
table: dict[int, Tensor] = {}
drawing = np.random.default_rng(0)


class Shared:
    """What is kept beside the model."""

    calls = 0


class Schedule:
    """An object that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def factor(self) -> float:
        self.asked += 1
        return 1 / self.asked


def _counting() -> Any:
    asked = 0

    def factor() -> float:
        nonlocal asked
        asked += 1
        return 1 / asked

    return factor


falling = _counting()


class OfGlobal(Keeping):
    def step(self, x: Tensor) -> Tensor:
        global calls
        calls += 1
        return self.linear(x) * (0.1 if calls < 100 else 1.0)


class OfClass(Keeping):
    def step(self, x: Tensor) -> Tensor:
        Shared.calls += 1
        return self.linear(x) / Shared.calls


class OfClosure(Keeping):
    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) * falling()


class OfObject(Keeping):
    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()

    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.schedule.factor()


class OfGlobalList(Keeping):
    def step(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        seen.append(h.detach())
        return h - seen[0]


class OfGlobalTable(Keeping):
    def step(self, x: Tensor) -> Tensor:
        if len(x) not in table:
            table[len(x)] = torch.arange(len(x), dtype=torch.float32)
        return self.linear(x) * table[len(x)][:, None]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (OfGlobal, "calls behind, and a later"),
        (OfClass, r"Shared\.calls behind, and the next"),
        (OfClosure, "asked behind"),
        (OfObject, "asked behind"),
        (OfGlobalList, "an item of a list behind"),
    ],
)
@pytest.mark.parametrize("inference", [True, False])
def test_what_is_kept_beside_the_model_is_seen(model: type[Keeping], name: str, inference: bool) -> None:
    with pytest.raises(CaptureError, match=f"forward leaves {name}"):
        captured(model(), inference)


@pytest.mark.parametrize("inference", [True, False])
def test_a_table_beside_the_model_is_harmless(inference: bool) -> None:
    assert captured(OfGlobalTable(), inference).program.graphs
    assert not table


class SkipsLayer(Keeping):
    threshold = 0.5

    def step(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        return h if random.random() < self.threshold else torch.relu(h)


class SkipsRarely(SkipsLayer):
    threshold = 1e-6


class ScalesByNumPy(Keeping):
    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) * float(np.random.uniform(0.9, 1.1))


class ChoosesOne(Keeping):
    def step(self, x: Tensor) -> Tensor:
        return random.choice([torch.relu, torch.tanh])(self.linear(x))


class DrawsInVain(Keeping):
    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) if random.uniform(0, 1) >= 0.0 else x


class DrawsFromItsOwn(Keeping):
    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) if drawing.random() < 0.5 else x


@pytest.mark.parametrize("model", [SkipsLayer, SkipsRarely, ScalesByNumPy, ChoosesOne])
@pytest.mark.parametrize("inference", [True, False])
def test_random_numbers_of_the_host_are_refused_whatever_they_are(model: type[Keeping], inference: bool) -> None:
    standing = random.getstate()
    for seed in range(4 if inference else 1):
        random.seed(seed)
        with pytest.raises(CaptureError, match=r"draws random numbers with Python or NumPy(.|\n)*torch\.rand"):
            captured(model(), inference)
    random.setstate(standing)


def test_random_numbers_that_nothing_depends_on_are_not() -> None:
    assert captured(DrawsInVain(), inference=False).program.graphs


def test_generators_of_the_model_are_seen() -> None:
    with pytest.raises(CaptureError, match="from a generator of Python or NumPy that the model keeps"):
        captured(DrawsFromItsOwn(), inference=False)


SEEDLESS = {
    "default_rng": lambda: float(np.random.default_rng().uniform()),
    "RandomState": lambda: float(np.random.RandomState().uniform()),
    "Random": lambda: random.Random().random(),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "secrets": lambda: float(secrets.randbelow(1000)),
    "urandom": lambda: float(os.urandom(1)[0]),
}
SEEDED = {
    "default_rng": lambda: float(np.random.default_rng(3).uniform()),
    "RandomState": lambda: float(np.random.RandomState(3).uniform()),
    "Random": lambda: random.Random(3).random(),
}


class Multiplied(Keeping):
    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.draw = draw

    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.draw()


@pytest.mark.parametrize("draw", SEEDLESS.values(), ids=SEEDLESS)
def test_generators_without_a_seed_are_refused(draw: Callable[[], float]) -> None:
    message = r"test_repetition\.py:\d+: forward draws random numbers from a generator without a seed(.|\n)*torch\.rand"
    with pytest.raises(CaptureError, match=message):
        captured(Multiplied(draw), inference=False)


@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
def test_generators_with_a_seed_draw_the_same_in_every_call(draw: Callable[[], float]) -> None:
    assert captured(Multiplied(draw), inference=False).program.graphs


class Seeded(Keeping):
    def step(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.linear(x) * torch.rand(4)


class OfOneGenerator(Keeping):
    def step(self, x: Tensor) -> Tensor:
        return self.linear(x) * torch.rand(4, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("model", "what"), [(Seeded, "seeds PyTorch's generator"), (OfOneGenerator, "from a torch.Generator of its own")]
)
def test_numbers_that_would_be_the_same_in_every_step_are_refused(model: type[Keeping], what: str) -> None:
    with pytest.raises(CaptureError, match=rf"test_repetition\.py:\d+: forward .*{what}(.|\n)*keep them in a buffer"):
        captured(model(), inference=False)


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
