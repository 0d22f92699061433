"""Chaos is told from a fault by TestWithGold and by the programs' own comparisons; gold files are compared with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ir.errors import UsageError
from sambaflow import samba
from sambaflow.samba import utils
from sambaflow.samba.test import TestWithGold
from sambaflow.samba.utils.argparser import parse_app_args
from tests.sdk.programs import batch, classifier, compiled
from tests.sdk.test_options import warnings  # noqa: F401


class Normalised(nn.Module):
    """A batch norm between two layers; `eps` keeps it from dividing by almost nothing."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)
        self.norm = nn.BatchNorm1d(16, eps=eps)
        self.criterion = nn.MSELoss()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out = self.second(self.norm(self.first(x)))
        return self.criterion(out, y), out


def alike() -> tuple[samba.SambaTensor, samba.SambaTensor]:
    """Two samples that float32 hardly tells apart."""
    x = torch.linspace(-1, 1, 8) + torch.tensor([[0.0], [3e-7]]) * torch.arange(8)
    return samba.from_torch_tensor(x, name="x"), samba.zeros(2, 4, name="y")


def prepared(eps: float, verb: str = "test", *options: str) -> tuple[argparse.Namespace, nn.Module, samba.optim.SGD]:
    """Arguments of a verb, a compiled model, and its optimizer."""
    torch.manual_seed(0)
    model = Normalised(eps)
    samba.from_torch_model_(model)
    optimizer = samba.optim.SGD(model.parameters(), lr=0.0)
    pef = compiled(model, alike(), optimizer)
    return parse_app_args([verb, "-p", pef, *options]), model, optimizer


@pytest.fixture
def wrong_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A device that computes with another bias than it was given."""
    from sambaflow.samba._device.loading import Loaded

    push = Loaded.to_device

    def damaged(self: Loaded, model: nn.Module | None = None) -> None:
        push(self, model)
        self.device.memory("second.bias").add_(0.5)

    monkeypatch.setattr(Loaded, "to_device", damaged)
    yield


def test_gold_says_that_a_difference_is_chaos(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args, model, optimizer = prepared(1e-14, "test", "--acc-report-json=report.json")
    TestWithGold(args, "net", model, alike(), optimizer).test()
    printed = capsys.readouterr().out
    assert "<-- chaos" in printed and "<-- a fault" not in printed
    assert "CPU and RDU differ by over 0.003: chaos, not a fault: the device is off float64 by" in printed
    report = json.loads((tmp_path / "report.json").read_text())
    assert {entry["name"] for entry in report["differences"]} >= {"loss", "output", "second.bias__grad"}


@pytest.mark.usefixtures("wrong_device")
def test_gold_says_that_a_difference_is_a_fault() -> None:
    args, model, optimizer = prepared(1.0)
    with pytest.raises(AssertionError, match=r"differs by over 0\.003.*a fault, not rounding: the device is off"):
        TestWithGold(args, "net", model, alike(), optimizer).test()


def test_a_programs_own_comparison_says_which_it_is(warnings: pytest.LogCaptureFixture) -> None:  # noqa: F811
    args, model, optimizer = prepared(1e-14)
    inputs = alike()
    outputs = utils.trace_graph(model, inputs, optimizer, pef=args.pef)
    expected = model(*inputs)
    found = samba.session.run(inputs, outputs)
    samba.to_torch(expected[0]).backward()
    utils.assert_close(found[1], expected[1], "logits", threshold=1e-7)
    weight = model.first.weight
    utils.assert_close(samba.to_torch(weight.sn_grad), weight.grad, "gradient", threshold=1e-7)
    assert warnings.text.count("chaos, not a fault: the device is off float64 by") == 2
    samba.session.arguments["command"] = "run"
    with pytest.raises(AssertionError, match=r"logits: .* chaos, not a fault"):
        utils.assert_close(found[1], expected[1], "logits", threshold=1e-7)


@pytest.mark.usefixtures("wrong_device")
def test_a_programs_own_comparison_names_a_fault() -> None:
    args, model, optimizer = prepared(1.0)
    inputs = alike()
    outputs = utils.trace_graph(model, inputs, optimizer, pef=args.pef)
    expected = model(*inputs)
    found = samba.session.run(inputs, outputs)
    with pytest.raises(AssertionError, match=r"a fault, not rounding: the device is off float64 by 0\.5"):
        utils.assert_close(found[1], expected[1], "logits")


def test_tensors_of_no_run_are_compared_as_they_are() -> None:
    with pytest.raises(AssertionError, match=r"largest difference 1$"):
        utils.assert_close(torch.zeros(2), torch.ones(2), "x")


@pytest.mark.parametrize("ending", [".npz", ".pt", ".safetensors"])
def test_results_are_compared_with_a_gold_file(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier()
    pef = compiled(model, batch(), inference=True)
    _, logits = model(*batch())
    logits = samba.to_torch(logits).detach()
    for offset in (0.0, 1.0):
        path = f"gold{offset}{ending}"
        if ending == ".npz":
            np.savez(path, output=(logits + offset).numpy())
        elif ending == ".pt":
            torch.save({"output": logits + offset}, path)
        else:
            save_file({"output": logits + offset}, path)
    test = TestWithGold(parse_app_args(["test", "-p", pef, f"--gold-file-path=gold0.0{ending}"]), "x", model, batch())
    test.test()
    assert f"1 results agree with the gold file gold0.0{ending}" in capsys.readouterr().out
    test.args.gold_file_path = f"gold1.0{ending}"
    with pytest.raises(AssertionError, match=r"output differs by 1\.000e\+00 from the gold file"):
        test.test()


def test_gold_files_that_do_not_fit_are_told() -> None:
    model = classifier()
    pef = compiled(model, batch(), inference=True)
    args = argparse.Namespace(pef=pef, mapping="section", gold_file_path="nowhere.pt")
    with pytest.raises(UsageError, match=r"the gold file nowhere\.pt does not exist"):
        TestWithGold(args, "x", model, batch()).test()
    args.gold_file_path = "named.pt"
    torch.save({"logits": torch.zeros(3)}, "named.pt")
    with pytest.raises(UsageError, match=r"the gold file .* holds logits, which the device does not have"):
        TestWithGold(args, "x", model, batch()).test()
    Path("broken.pt").write_bytes(b"no tensors")
    args.gold_file_path = "broken.pt"
    with pytest.raises(UsageError, match="cannot be read"):
        TestWithGold(args, "x", model, batch()).test()
