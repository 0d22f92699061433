"""A small model, compiled once by the command for inference and for training."""

from __future__ import annotations

from pathlib import Path

import pytest

from pef import file as pef_file
from pef import pef_pb2 as pb
from tests.cli.conftest import MODEL, run_snc


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.py and its PEFs out/small/small.pef (training) and out/infer/infer.pef."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "small.py").write_text(MODEL)
    for arguments in (["--pef-name", "small"], ["--inference", "--pef-name", "infer"]):
        result = run_snc("compile", folder / "small.py", "-o", folder / "out", *arguments)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="session")
def training_path(workshop: Path) -> Path:
    return workshop / "out" / "small" / "small.pef"


@pytest.fixture(scope="session")
def inference_path(workshop: Path) -> Path:
    return workshop / "out" / "infer" / "infer.pef"


@pytest.fixture
def training(training_path: Path) -> pb.Pef:
    return pef_file.read(training_path)


@pytest.fixture
def inference(inference_path: Path) -> pb.Pef:
    return pef_file.read(inference_path)
