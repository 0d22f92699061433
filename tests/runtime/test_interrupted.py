"""A process that is killed while it writes a checkpoint leaves the one before as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.files.checkpoint import Progress, resume, write_checkpoint
from runtime.session import Session
from tests.runtime.programs import update_in_place

ROOT = Path(__file__).parents[2]

WRITER = """
import os, signal, sys
from pathlib import Path
from runtime.files.checkpoint import Progress, write_checkpoint
from runtime.session import Session
from tests.runtime.test_interrupted import session_with

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def die_with_half_of_it(file):
    os.ftruncate(os.open(f"/proc/self/fd/{file}", os.O_WRONLY), os.fstat(file).st_size // 2)
    die()

session = session_with(2.0)
match sys.argv[2]:
    case "header": session.raw = die
    case "half": os.fsync = die_with_half_of_it
    case "all": os.replace = die
write_checkpoint(Path(sys.argv[1]), session, Progress(step=20, seed=0))
"""


def session_with(value: float) -> Session:
    """A parameter of this value in every element."""
    session = Session(update_in_place(), threads=1)
    session.write("w", np.full((64, 8), value, np.float32))
    return session


def written(path: Path, moment: str) -> int:
    """Write a checkpoint in another process, which is killed when so much of it is written; its exit status."""
    words = [sys.executable, "-c", WRITER, str(path), moment]
    return subprocess.run(words, cwd=ROOT, check=False, timeout=120).returncode


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the half-written file is cut through /proc")
@pytest.mark.parametrize("moment", ["header", "half", "all"])
def test_the_checkpoint_before_stays(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "step.safetensors"
    write_checkpoint(path, session_with(1.0), Progress(step=10, seed=0))
    before = path.read_bytes()
    assert written(path, moment) == -signal.SIGKILL
    assert path.read_bytes() == before
    write_checkpoint(tmp_path / "next.safetensors", session_with(3.0), Progress(step=30, seed=0))
    assert {kept.name for kept in tmp_path.iterdir()} == {"step.safetensors", "next.safetensors"}, "nothing is left"
    restored = session_with(0.0)
    assert resume(path, restored).step == 10
    assert (restored.read("w") == 1).all()


def test_the_next_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "step.safetensors"
    write_checkpoint(path, session_with(1.0), Progress(step=10, seed=0))
    assert written(path, "header") == -signal.SIGKILL
    assert written(path, "not at all") == 0
    restored = session_with(0.0)
    assert resume(path, restored).step == 20
    assert (restored.read("w") == 2).all()
