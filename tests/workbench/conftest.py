"""A small model, compiled once by the command for inference and for training."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.driver import CompileRequest, compile_model
from pef import file as pef_file
from pef import pef_pb2 as pb
from tests.cli.conftest import MODEL


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.py."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "small.py").write_text(MODEL)
    return folder


def compiled(folder: Path, name: str, inference: bool) -> Path:
    request = CompileRequest(str(folder / "small.py"), inference, None, folder / "out", name)
    return compile_model(request).pef_path


@pytest.fixture(scope="session")
def training_path(workshop: Path) -> Path:
    return compiled(workshop, "small", inference=False)


@pytest.fixture(scope="session")
def inference_path(workshop: Path) -> Path:
    return compiled(workshop, "infer", inference=True)


@pytest.fixture
def training(training_path: Path) -> pb.Pef:
    return pef_file.read(training_path)


@pytest.fixture
def inference(inference_path: Path) -> pb.Pef:
    return pef_file.read(inference_path)
