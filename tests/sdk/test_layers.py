"""Comparing host and device layer by layer: every module and gradient is looked at, the first that differs is named."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ir.op import OPS
from sambaflow import samba
from sambaflow.samba._verify.layers import compare_step
from tests.sdk.programs import compiled


class Block(nn.Module):
    """A layer, a normalisation that changes its statistics, an activation in place, and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 12)
        self.norm = nn.BatchNorm1d(12)
        self.act = nn.Tanh()
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.relu(self.norm(self.act(self.linear(x)))))


class Net(nn.Module):
    """Two blocks and a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = Block(), Block(), nn.Linear(12, 3)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out = self.head(self.second(self.first(x)))
        return self.loss(out, y), out


BLOCK = ["linear", "act", "norm", "relu", "drop"]
MODULES = [f"{block}{part}" for block in ("first", "second") for part in (*(f".{name}" for name in BLOCK), "")]


Prepared = tuple[Namespace, nn.Module, tuple[Any, ...], Any]
"""What `test` gets: arguments, model, inputs, optimizer."""


def made(inference: bool = False) -> tuple[nn.Module, tuple[Any, ...], Any]:
    """The net, its inputs and its optimizer, the same every time."""
    torch.manual_seed(0)
    model = Net().train(not inference)
    samba.from_torch_model_(model)
    x = samba.from_torch_tensor(torch.randn(16, 12), name="x", batch_dim=0)
    y = samba.from_torch_tensor(torch.randint(3, (16,)), name="y", batch_dim=0)
    return model, (x, y), None if inference else samba.optim.SGD(model.parameters(), lr=0.1)


@pytest.fixture(scope="module")
def trained_pef(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The net compiled for training: its tests load the same PEF."""
    return compiled(*made(), arguments={"output_folder": str(tmp_path_factory.mktemp("net"))})


@pytest.fixture
def training(trained_pef: str) -> Prepared:
    return Namespace(pef=trained_pef, mapping="section"), *made()


def test_every_module_and_every_gradient_is_compared(training: Prepared) -> None:
    args, model, inputs, optimizer = training
    found = [difference.name for difference in compare_step(args, model, inputs, optimizer, threshold=1e-4)]
    parameters = [name for name, _ in model.named_parameters()]
    outputs = found[len(MODULES) + 2 : -len(parameters)]
    assert len(outputs) == 2
    assert found == [*MODULES, "head", "loss", *outputs, *(f"{name}__grad" for name in reversed(parameters))]


def test_dropout_and_statistics_are_as_before(training: Prepared) -> None:
    args, model, inputs, optimizer = training
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    compare_step(args, model, inputs, optimizer)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.5]
    rates = samba.session.loaded.hyper.rates.values()
    assert [float(samba.session.device.memory(rate)) for rate in rates] == [0.5, 0.5]
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_inference_compares_modules_and_outputs() -> None:
    model, inputs, _ = made(inference=True)
    args = Namespace(pef=compiled(model, inputs, inference=True), mapping="section")
    found = [difference.name for difference in compare_step(args, model, inputs, threshold=1e-4)]
    assert [name for name in found if name in MODULES] == MODULES
    assert not any(name.endswith("__grad") for name in found)


def test_the_first_that_differs_is_named(
    training: Prepared, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args, model, inputs, optimizer = training

    def off(self: Any, x: Any, out: Any, *scratch: Any) -> None:
        out[...] = 0.9 * x / (1 + abs(x))

    monkeypatch.setattr(OPS["tanh"], "kernel", off)
    with pytest.raises(
        AssertionError, match=r"^first\.act is the first that differs by over 0.003; so do \d+ behind it"
    ):
        compare_step(args, model, inputs, optimizer)
    printed = {
        line.split()[0]: "<-- differs" in line for line in capsys.readouterr().out.splitlines() if "of at" in line
    }
    assert not printed["first.linear"] and printed["first.act"] and printed["first.norm"]


class Dropping(nn.Module):
    """Every way to drop out: modules, functions with a constant rate, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(8, 16)
        self.channels = nn.Dropout1d(0.3)
        self.alpha = nn.AlphaDropout(0.4)
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.3, batch_first=True)
        self.recurrent = nn.LSTM(16, 16, 2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(self.lift(x), 0.25)
        y = self.channels(y) + F.dropout2d(y[..., None], p=0.2)[..., 0] + self.alpha(y)
        y = self.attention(y, y, y, need_weights=False)[0] + F.scaled_dot_product_attention(y, y, y, None, 0.2)
        return self.head(self.recurrent(y)[0]).square().mean()


def test_functions_that_drop_out_are_compared_without() -> None:
    torch.manual_seed(1)
    model = Dropping()
    samba.from_torch_model_(model)
    inputs = (samba.randn(4, 2, 8, name="x", batch_dim=0),)
    optimizer = samba.optim.SGD(model.parameters(), lr=0.1)
    args = Namespace(pef=compiled(model, inputs, optimizer), mapping="section")
    found = compare_step(args, model, inputs, optimizer, threshold=1e-4)
    assert {"attention", "recurrent", "head", "head.weight__grad"} <= {difference.name for difference in found}
    assert all(difference.largest > 0 for difference in found if difference.name.endswith("__grad"))
