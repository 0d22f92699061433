"""The examples, as their users run them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sambaflow import samba

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "samba"


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An example as a module; its folder comes first on the path, as for a program."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def losses(text: str) -> list[float]:
    """Every loss that a program printed."""
    return [float(number) for number in re.findall(r"[Ll]oss:? (\d+\.\d+)", text)]


def test_logistic_regression(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = example("logreg", monkeypatch)
    program.main(["compile", "-b", "4", "--pef-name=logreg"])
    pef = "--pef=out/logreg/logreg.pef"
    program.main(["test", "-b", "4", pef])
    program.main(["measure-performance", "-b", "4", pef, "-n", "5"])
    assert "CPU and RDU agree." in capsys.readouterr().out
    program.main(["run", "-b", "4", pef, "--num-epochs", "2"])
    printed = capsys.readouterr().out
    assert losses(printed)[-1] < losses(printed)[0] / 2
    assert float(re.findall(r"Test Accuracy: ([\d.]+)", printed)[-1]) > 80


def test_lenet_continues_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = example("lenet", monkeypatch)
    program.main(["compile", "--pef-name=lenet"])
    pef = "--pef=out/lenet/lenet.pef"
    program.main(["run", pef, "--num-epochs", "4", "--ckpt-dir", "one"])
    program.main(["run", pef, "--num-epochs", "2", "--ckpt-dir", "two", "--ckpt-file", "one/92.pt"])
    first, second = torch.load("one/184.pt"), torch.load("two/184.pt")
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    program.main(["run", "--test", pef])
    capsys.readouterr()
    program.main(["compile", "--inference", "--pef-name=inference"])
    program.main(["run", "--inference", "--pef=out/inference/inference.pef", "--ckpt-file", "one/184.pt"])
    assert float(re.findall(r"Test Accuracy: ([\d.]+)", capsys.readouterr().out)[-1]) > 70
    assert len(Path("results/predictions.txt").read_text().split()) == 288


def test_residual_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = example("res_ffn", monkeypatch)
    program.main(["compile", "-b", "64", "--pef-name=ffn"])
    program.main(["run", "-b", "64", "--pef=out/ffn/ffn.pef", "--num-epochs", "3"])
    found = losses(capsys.readouterr().out)
    assert len(found) == 3 and found[-1] < 0.3


def test_host_loss(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = example("host_loss", monkeypatch)
    program.main(["compile", "-b", "32", "--pef-name=host"])
    program.main(["run", "-b", "32", "--pef=out/host/host.pef"])
    found = losses(capsys.readouterr().out)
    assert found[-1] < found[0] < 1


def test_gpt_learns_a_text_and_writes_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tuning = example("gpt_finetune", monkeypatch)
    tuning.main(["compile", "-b", "8", "--pef-name=gpt"])
    tuning.main(["run", "-b", "8", "--pef=out/gpt/gpt.pef", "--steps", "60", "--checkpoint", "gpt.pt"])
    assert losses(capsys.readouterr().out)[-1] < 0.5
    samba.session.reset()
    writing = example("gpt_generate", monkeypatch)
    writing.main(["compile", "--inference", "--pef-name=generate"])
    samba.session.reset()
    writing.main(["run", "--inference", "--pef=out/generate/generate.pef", "--checkpoint", "gpt.pt", "--count", "12"])
    device, host = re.findall(r"(?:device|host): +'(.*)'", capsys.readouterr().out)
    assert device == host and device.startswith("the quick ") and len(device) == 22
