"""SambaFlow programs through the toolchain's own commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import sambaflow.samba as samba
from compiler.sambaflow_program import is_sambaflow_program
from pef import file
from runtime.snrun.compare import usual_tolerance
from tests.sdk.programs import compiled

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"


def command(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `snc` or `snrun` as a program."""
    code = f"from {package}.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def test_snrun_compares_a_bf16_model_as_precisely_as_bf16_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).bfloat16()
    pef = compiled(model, samba.randn(32, 64, name="x").bfloat16(), inference=True)
    passed, strict = (
        command("runtime.snrun", pef, "--test"),
        command("runtime.snrun", pef, "--test", "--rtol", "0", "--atol", "0"),
    )
    assert passed.returncode == 0 and "passed" in passed.stdout
    assert strict.returncode == 1 and "DIFFERS" in strict.stdout
    assert usual_tolerance(file.read(pef)).rtol == 2**-6
    whole = compiled(nn.Linear(4, 4), samba.randn(2, 4, name="x"), inference=True)
    assert usual_tolerance(file.read(whole)).rtol == 1e-3


def test_programs_are_told_by_their_imports() -> None:
    assert is_sambaflow_program(str(EXAMPLES / "samba" / "logreg.py"))
    assert not is_sambaflow_program(str(EXAMPLES / "res_ffn.py"))
    assert not is_sambaflow_program("missing.py")


def test_snc_compiles_a_program_and_snrun_runs_its_pef(tmp_path: Path) -> None:
    program = str(EXAMPLES / "samba" / "logreg.py")
    options = ("-b", "2", "--pef-name", "m", "-o", str(tmp_path), "--num-classes", "4")
    made = command("compiler", "compile", program, *options)
    assert made.returncode == 0, made.stderr
    ran = command("runtime.snrun", str(tmp_path / "m" / "m.pef"), "--test")
    assert ran.returncode == 0 and "passed" in ran.stdout
    refused = command("compiler", "compile", str(EXAMPLES / "res_ffn.py"), "--num-classes", "4")
    assert refused.returncode == 2 and "No such option" in refused.stderr
