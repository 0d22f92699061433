"""A small model, compiled once by the command for training and for inference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from compiler.cli import main as snc
from runtime.snrun.cli import main as snrun

MODEL = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(12, 3)

    def forward(self, features, label):
        logits = self.second(torch.tanh(self.first(features)))
        return nn.functional.cross_entropy(logits, label), logits


model = Small


def inputs(batch_size=16):
    return {"features": torch.randn(batch_size, 8), "label": torch.randint(3, (batch_size,))}


def optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
"""


def run_snc(*arguments: object) -> Result:
    """`snc`, in this process."""
    return CliRunner().invoke(snc, [str(argument) for argument in arguments])


def run_snrun(*arguments: object) -> Result:
    """`snrun`, in this process."""
    return CliRunner().invoke(snrun, [str(argument) for argument in arguments])


def assert_refused(result: Result, code: str, *expected: str) -> None:
    """One message (a line per problem, and remedies), with the code and what must be named; no traceback."""
    assert result.exit_code not in (0, None), result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert all(line.startswith(("error[", "    ", "note: ")) for line in lines), result.output
    errors = [line for line in lines if line.startswith("error[")]
    assert errors and all(line.startswith(f"error[{code}]: ") for line in errors), result.output
    assert len(set(errors)) == len(errors), "said twice"
    for text in expected:
        assert text in result.stderr, result.stderr


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Compiled:
    """What the command wrote and said."""

    folder: Path
    report: dict[str, Any]

    @property
    def pef(self) -> Path:
        return self.folder / "small.pef"

    @property
    def weights(self) -> Path:
        return self.folder / "small.safetensors"


def _compile(folder: Path, *options: str) -> Compiled:
    source = folder / "small.py"
    source.write_text(MODEL)
    result = run_snc("compile", source, "-o", folder / "out", "--pef-name", "small", "--json", *options)
    assert result.exit_code == 0, result.output
    return Compiled(folder / "out" / "small", json.loads(result.stdout))


@pytest.fixture(scope="session")
def _training(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return _compile(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def _inference(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return _compile(tmp_path_factory.mktemp("inference"), "--inference")


@pytest.fixture
def training(_training: Compiled, tmp_path: Path) -> Compiled:
    """A training PEF in a folder of the test's own."""
    return _own(_training, tmp_path)


@pytest.fixture
def inference(_inference: Compiled, tmp_path: Path) -> Compiled:
    """An inference PEF in a folder of the test's own."""
    return _own(_inference, tmp_path)


def _own(compiled: Compiled, folder: Path) -> Compiled:
    copy = folder / compiled.folder.parents[1].name
    shutil.copytree(compiled.folder, copy)
    return Compiled(copy, compiled.report)


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Path]:
    """Writes an .npz file of 40 samples, with other arrays where given (None leaves one out)."""

    def write(**changes: np.ndarray | None) -> Path:  # type: ignore[type-arg]
        random = np.random.default_rng(0)
        arrays = {
            "features": random.standard_normal((40, 8), dtype=np.float32),
            "label": random.integers(0, 3, 40, dtype=np.int32),
            **changes,
        }
        path = tmp_path / "data.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write
