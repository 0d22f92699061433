"""Checks of values that can only pass or raise are left out; whatever else depends on values is still refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.capture import capture, survey
from compiler.frontend.model_file import ModelSpec
from ir.errors import CaptureError
from tests.frontend.asserting import asserts
from tests.frontend.reference import compare_inference, compare_training

HERE = Path(__file__)


def raises(y: Tensor) -> Tensor:
    if y.isnan().any():
        raise ValueError("not a number")
    if not (y.abs() < 1e6).all():
        text = f"too large: {y.max()}"
        raise RuntimeError(text)
    with torch.no_grad():
        if (y.abs() > 1e6).any() or y.isinf().any():
            raise ValueError
    return y


def checks(y: Tensor) -> Tensor:
    torch._assert(y.sum() < 1e6, "too large")
    torch._check_tensor_all(y < 1e6, lambda: "too large")
    torch._assert_async((y < 1e6).all())
    return y


def branches(y: Tensor) -> Tensor:
    if (y > 0).any():
        y = y + 1
    return y


def catches(y: Tensor) -> Tensor:
    try:
        if (y > 0).any():
            raise ValueError
    except ValueError:
        return y + 1
    return y


class Noted:
    """What a branch leaves behind."""

    seen = False


def leaves_something(y: Tensor) -> Tensor:
    if (y > 0).any():
        Noted.seen = True
        raise ValueError
    return y


def reads(y: Tensor) -> Tensor:
    if y.sum().item() > 0:
        raise ValueError
    return y


class Applied(nn.Module):
    """A linear layer, checked."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.fc(x)).pow(2).mean()


def spec_of(function: Callable[[Tensor], Tensor]) -> ModelSpec:
    torch.manual_seed(6)
    model = Applied(function)
    return ModelSpec(model, {"x": torch.randn(5, 4)}, torch.optim.SGD(model.parameters(), lr=0.1), file=HERE)


@pytest.mark.parametrize("function", [asserts, raises, checks])
def test_what_only_checks_is_left_out(function: Callable[[Tensor], Tensor], caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of(function)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=2)
    compare_inference(spec, capture(spec, inference=True))
    assert survey(spec, inference=False).problems == ()
    (note, *_) = [record.getMessage() for record in caplog.records if record.name == "snc"]
    file, line = Path(function.__code__.co_filename).name, function.__code__.co_firstlineno
    assert re.match(rf"note: checks of values are not made on the device: {file}:({line + 1}|{line + 2})\b", note)


@pytest.mark.parametrize("function", [branches, catches, leaves_something])
def test_what_decides_more_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(CaptureError, match="the model's control flow depends on the values of a tensor"):
        capture(spec_of(function), inference=False)


def test_a_number_that_is_read_is_refused() -> None:
    with pytest.raises(CaptureError, match="a number is read from a tensor into Python"):
        capture(spec_of(reads), inference=False)


def test_tensors_are_as_before_afterwards() -> None:
    capture(spec_of(asserts), inference=True)
    assert not {"__bool__", "item"} & set(vars(torch.Tensor))
    with pytest.raises(AssertionError):
        asserts(torch.full((5, 4), float("nan")))


def guarded(y: Tensor) -> Tensor:
    if not torch.compiler.is_compiling() and y.sum() > 1e6:
        y = y + 1
    return y[torch.nonzero(y[0] > 0)[:, 0]]


def test_the_report_does_not_blame_lines_that_tracing_skips() -> None:
    problems = survey(spec_of(guarded), inference=False).problems
    line = guarded.__code__.co_firstlineno + 3
    assert {str(problem.where).partition(" ")[0] for problem in problems} == {f"test_assertions.py:{line}"}


class Unready(nn.Module):
    """Three operators that the device does not have, one of which decides a size, and one without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        singular = torch.linalg.svd(y)[1]
        places = y.nonzero()
        numbers = torch.unique(y)
        return singular.sum() + places.sum() + numbers.sum()


@pytest.mark.parametrize("inference", [True, False])
def test_everything_after_an_unknown_size_is_reported(inference: bool) -> None:
    spec = ModelSpec(Unready(), {"x": torch.randn(4, 4)}, file=HERE)
    messages = [problem.message for problem in survey(spec, inference=inference).problems]
    assert [next(name for name in ("_linalg_svd", "nonzero", "_unique2") if name in text) for text in messages] == [
        "_linalg_svd",
        "nonzero",
        "_unique2",
    ]


def test_the_distributions_arguments_are_named(caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of(lambda y: torch.distributions.Normal(y, 1.0).log_prob(y * 2))
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=1)
    assert "validate_args=False" in caplog.text
