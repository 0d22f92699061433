"""Programs as somebody writes them who knows the SDK's surface alone, through all their verbs. Their output folder is
called like a package of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(__file__).parent / "strangers"

TRAINED = ("compile -b 8", "run -b 8", "test -b 8", "measure-performance -b 8 -n 2")
VERBS = {
    "vae": TRAINED,
    "recommender": TRAINED,
    "gan": TRAINED,
    "transformer": (*TRAINED, "compile -b 8 --inference", "run -b 8 --inference"),
    "structured": ("compile", "run"),
    "kv": ("compile --inference", "run --inference"),
}


def test_every_program_is_run() -> None:
    assert {path.stem for path in PROGRAMS.glob("*.py")} == VERBS.keys()


@pytest.mark.full
@pytest.mark.parametrize("name", VERBS)
def test_all_verbs_of_a_program(name: str, tmp_path: Path) -> None:
    """Every program compares with PyTorch by itself; none ends with an error or a traceback."""
    for verb in VERBS[name]:
        where = ["--output-folder=pef", f"--pef-name={name}"] if "compile" in verb else [f"--pef=pef/{name}/{name}.pef"]
        command = [sys.executable, str(PROGRAMS / f"{name}.py"), *verb.split(), *where]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0 and "Traceback" not in result.stderr, f"{verb}\n{result.stdout}{result.stderr}"
        assert "without effect" not in result.stderr and "has done nothing" not in result.stderr, result.stderr
