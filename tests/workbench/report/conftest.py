"""A small transformer with two equal layers and a small LeNet, trained, with their facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.driver import CompileRequest, CompileResult, compile_model
from pef import pef_pb2 as pb
from runtime.timing import Report, simulate
from workbench.report.facts import facts

EXAMPLES = Path(__file__).parent.parent.parent.parent / "examples"
LENET = str(EXAMPLES / "lenet.py")


@pytest.fixture(scope="session")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    folder = tmp_path_factory.mktemp("lenet")
    return compile_model(CompileRequest(LENET, batch_size=4, output_folder=folder))


@pytest.fixture(scope="session")
def pef(lenet: CompileResult) -> pb.Pef:
    return lenet.pef


@pytest.fixture(scope="session")
def report(pef: pb.Pef) -> Report:
    return simulate(pef)


@pytest.fixture(scope="session")
def found(pef: pb.Pef, report: Report) -> dict[str, Any]:
    return facts(pef, report, EXAMPLES)
