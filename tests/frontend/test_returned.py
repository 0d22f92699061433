"""What forward may return and be given beside tensors: results equal PyTorch's, and what is left out is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec, load_model
from ir.errors import CaptureError, UsageError
from ir.graph import SymbolKind
from tests.frontend.reference import compare_inference, compare_training

HERE = Path(__file__)


@dataclass
class Result:
    """What a model returns."""

    loss: Tensor
    scores: Tensor
    count: int = 3
    mask: Tensor | None = None


class Pair(NamedTuple):
    """Another form of result."""

    loss: Tensor
    rest: Any


class Opaque:
    """Holds a tensor that nobody can find."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Any], list[str]]] = {
    "none": (lambda loss, y: (loss, None, y), ["loss", "output"]),
    "numbers": (lambda loss, y: (loss, 3, "text", 2.5, True, y), ["loss", "output"]),
    "dict": (lambda loss, y: {"loss": loss, "n": 4, "more": [y, None]}, ["loss", "more"]),
    "dataclass": (lambda loss, y: Result(loss, y), ["loss", "scores"]),
    "nested": (lambda loss, y: (loss, {"inner": Result(y * 2, y)}), ["loss", "inner.loss", "inner.scores"]),
    "namedtuple": (lambda loss, y: Pair(loss, (None, y)), ["loss", "output"]),
}


class Returning(nn.Module):
    """Returns a loss and what it comes from in some form."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        y = self.fc(x)
        return self.form(y.pow(2).mean(), y)


def spec_of(model: nn.Module, inputs: dict[str, Any]) -> ModelSpec:
    return ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.1), file=HERE)


def check(model: nn.Module, inputs: dict[str, Any]) -> list[str]:
    """Train and infer beside PyTorch; the names of the outputs."""
    spec = spec_of(model, inputs)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values)
    inferred = capture(spec, inference=True)
    spec.model.eval()
    compare_inference(spec, inferred)
    return [symbol.name for symbol in captured.program.symbols if symbol.kind is SymbolKind.OUTPUT]


@pytest.mark.parametrize("form", FORMS)
def test_only_tensors_are_outputs(form: str) -> None:
    torch.manual_seed(1)
    function, names = FORMS[form]
    assert check(Returning(function), {"x": torch.randn(5, 4)}) == names


class Attending(nn.Module):
    """Attention whose weights are not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, None]]:
        result = self.attention(x, x, x, need_weights=False)
        assert result[1] is None
        return result[0].pow(2).mean(), result


def test_attention_without_its_weights() -> None:
    torch.manual_seed(2)
    assert check(Attending(), {"x": torch.randn(2, 5, 8)}) == ["loss", "output"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the compiler tells the user."""
    return [record.getMessage() for record in caplog.records if record.name == "snc"]


def test_what_is_left_out_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of(Returning(lambda loss, y: Result(loss, y)), {"x": torch.randn(5, 4)})
    capture(spec, inference=False)
    assert said(caplog) == ["note: the model also returns count = 3: only tensors are outputs"]


def test_an_object_that_hides_tensors_is_refused() -> None:
    spec = spec_of(Returning(lambda loss, y: (loss, Opaque(y))), {"x": torch.randn(5, 4)})
    with pytest.raises(CaptureError, match=r"the model returns 1 \(Opaque\), whose tensors have no known order"):
        capture(spec, inference=False)


class Optional(nn.Module):
    """Takes what may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 1.0, way: str = "sum") -> Tensor:
        y = self.fc(x) * scale
        y = y if mask is None else y * mask
        return y.pow(2).mean() if way == "mean" else y.sum()


def test_inputs_beside_tensors_are_part_of_the_call() -> None:
    torch.manual_seed(3)
    x, mask = torch.randn(5, 4), torch.randint(2, (5, 3))
    check(Optional(), {"x": x, "mask": None, "scale": 2.0, "way": "mean"})
    check(Optional(), {"x": x, "mask": mask, "scale": 2, "way": "mean"})


def test_other_inputs_are_refused() -> None:
    with pytest.raises(UsageError, match="input mask is of type list"):
        spec_of(Optional(), {"x": torch.randn(5, 4), "mask": [1, 0]})


def test_a_model_file_may_give_none(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(
        "import torch\nfrom tests.frontend.test_returned import Optional\nmodel = Optional\n"
        "inputs = (torch.randn(5, 4), None, 0.5)\n"
    )
    spec = load_model(str(path), 5)
    assert list(spec.inputs) == ["x"]
    compare_inference(spec, capture(spec, inference=True))
