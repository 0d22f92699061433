"""A difference that float32 makes by itself is told from one that somebody made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pef.reference import judges
from runtime.snrun.compare import Verdict, compare
from tests.cli.conftest import run_snc, run_snrun

CHAOTIC = """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16, eps=1e-14), nn.Linear(16, 4))
base = torch.linspace(-1, 1, 8) + torch.tensor([[0.0], [3e-7]]) * torch.arange(8)


def inputs(batch_size=2):
    return (base,)


def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)
"""
"""Two samples that float32 hardly tells apart, and a batch norm that divides by their difference."""


@pytest.fixture(scope="module")
def chaotic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos")
    (folder / "model.py").write_text(CHAOTIC)
    assert run_snc("compile", folder / "model.py", "-o", folder).exit_code == 0
    return folder / "model" / "model.pef"


def test_a_chaotic_model_passes_and_says_so(chaotic: Path) -> None:
    with np.load(chaotic.with_suffix(".reference.npz")) as stored:
        assert judges(stored)["output"].shape == (2, 4)
    result = run_snrun(chaotic, "--test", "--json")
    assert result.exit_code == 0, result.output
    (output,) = json.loads(result.stdout)["test"]["outputs"].values()
    assert output["passed"] and output["remark"].startswith("chaos, not a fault: the device is off float64 by")


def test_other_weights_are_a_fault(chaotic: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
    with torch.no_grad():
        model[2].weight.mul_(100)
    torch.save(model.state_dict(), tmp_path / "other.pt")
    result = run_snrun(chaotic, "--test", "--weights", tmp_path / "other.pt")
    assert result.exit_code == 1
    assert "DIFFERS  a fault, not rounding: the device is off float64 by" in result.stdout


def test_a_well_conditioned_model_is_never_excused(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(CHAOTIC.replace("eps=1e-14", "eps=1.0"))
    assert run_snc("compile", tmp_path / "model.py", "-o", tmp_path, "--inference").exit_code == 0
    pef = tmp_path / "model" / "model.pef"
    with np.load(pef.with_suffix(".reference.npz")) as stored:
        assert [name for name in judges(stored) if name] == []
    torch.save(nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)).state_dict(), tmp_path / "o.pt")
    result = run_snrun(pef, "--test", "--weights", tmp_path / "o.pt")
    assert result.exit_code == 1
    assert "a fault, not rounding: max absolute error" in result.stdout
    assert "PyTorch agrees with float64" in result.stdout


def test_a_reference_of_the_users_is_compared_as_before() -> None:
    (comparison,) = compare({"y": np.ones(2, np.float32)}, {"y": np.zeros(2, np.float32)}, 1e-3, 1e-4)
    assert not comparison.passed and comparison.remark == ""


def test_about_as_close_to_float64_is_chaos() -> None:
    assert Verdict(3e-2, 1e-2).is_chaos and not Verdict(5e-2, 1e-2).is_chaos and not Verdict(1e-3, 0.0).is_chaos


def test_samples_that_pytorch_does_not_run_leave_no_reference(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("""
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x, label):
        return nn.functional.cross_entropy(self.layer(x), label)


model = Net()


def inputs(batch_size=4):
    return {"x": torch.randn(batch_size, 4), "label": torch.randint(1000, (batch_size,))}


def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)
""")
    result = run_snc("compile", tmp_path / "model.py", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "model" / "model.reference.npz").exists()
    result = run_snrun(tmp_path / "model" / "model.pef", "--test")
    assert result.exit_code != 0 and "Traceback" not in result.output
    assert "none was written with the PEF" in result.output, result.output
