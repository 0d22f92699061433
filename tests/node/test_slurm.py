"""The example of Slurm with counts of RDUs and tiles, where Debian's slurm-wlm and munge are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.test_daemon import ROOT, Daemon, start, stop, training, until, words

__all__ = ["training"]  # a fixture

MISSING = [name for name in ("munged", "slurmctld", "slurmd", "srun") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
START = ROOT / "examples" / "slurm" / "start.sh"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Daemon, dict[str, str]]]:
    """A node's daemon and a cluster of that node; the environment of its users."""
    folder = tmp_path / "slurm"
    daemon = start(tmp_path / "node")
    environment = {**os.environ, "PORT": str(free_port()), "SNC_NODE": str(daemon.folder)}
    subprocess.run([START, folder], env=environment, check=True, capture_output=True, timeout=60)
    environment["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        until(lambda: "idle" in slurm(environment, "sinfo", "-h", "-o", "%T").stdout)
        yield daemon, environment
    finally:
        subprocess.run([START, folder, "stop"], env=environment, check=False, capture_output=True, timeout=60)
        stop(daemon)


def slurm(environment: dict[str, str], *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, env=environment, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)


def test_jobs_hold_what_they_were_promised(
    cluster: tuple[Daemon, dict[str, str]], training: Path, tmp_path: Path
) -> None:
    """A job's count of tiles is what its run holds on the node; what there is not is refused; cancelled, it is free."""
    daemon, environment = cluster
    assert slurm(environment, "sinfo", "-h", "-o", "%G").stdout.strip() == "rdu:8,rdu_tile:64"
    assert slurm(environment, "srun", "--gres=rdu:9", "true").returncode != 0
    run = [sys.executable, "-m", "runtime.snrun.cli", *map(str, words(training, tmp_path / "a"))]
    job = subprocess.Popen(["srun", "--job-name=drill", "--gres=rdu_tile:4", *run], env=environment, cwd=ROOT)
    until(daemon.held)
    held = daemon.held()
    assert len(held) == 4, "the PEF uses three tiles"
    assert slurm(environment, "squeue", "-h", "-o", "%j %b").stdout.split() == ["drill", "gres:rdu_tile:4"]
    slurm(environment, "scancel", "--signal=TERM", "--name=drill")
    job.wait(timeout=60)
    until(lambda: not daemon.held())
