"""Replicas as processes, started as their users start them: torchrun, mpirun, and by hand."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sambaflow import samba

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "samba" / "data_parallel.py"
SECONDS = 240
"""What no run takes, even on a busy machine."""

OWN_GROUP = """
import sys
import torch.distributed as dist
from sambaflow import samba
dist.init_process_group(backend="mpi")
assert (dist.get_backend(), dist.get_world_size()) == ("gloo", 2)
seed = samba.utils.set_seed
samba.utils.set_seed = lambda number: seed(number + dist.get_rank())  # replicas start from other weights
import data_parallel
data_parallel.main(sys.argv[1:])
"""

LOSES_A_REPLICA = """
import os, sys, time
import data_parallel
from sambaflow import samba
run, steps = samba.session.run, []

def counted(*arguments, **named):
    steps.append(0)
    if len(steps) == 3 and os.environ["RANK"] == "1":
        os._exit(9) if sys.argv[1] == "dies" else time.sleep(30)
    return run(*arguments, **named)

samba.session.run = counted
data_parallel.main(sys.argv[2:])
"""


IS_LATE = """
import os, sys, time
import data_parallel
from sambaflow import samba
from sambaflow.samba._replicas import distributed
run, steps = samba.session.run, []
distributed.REPORT_AFTER_S = 1

def counted(*arguments, **named):
    steps.append(0)
    if len(steps) == 3 and os.environ["RANK"] == "1":
        time.sleep(4)
    return run(*arguments, **named)

samba.session.run = counted
data_parallel.main(sys.argv[1:])
"""


TRACES_IN_A_GROUP = """
import atexit, glob
atexit.register(lambda: print(*(open(path).read() for path in glob.glob("/proc/self/task/*/comm"))))
import torch
import torch.distributed as dist
from sambaflow import samba
dist.init_process_group("mpi")
dist.all_reduce(torch.ones(3))
assert "gloo" in "".join(open(path).read() for path in glob.glob("/proc/self/task/*/comm"))
torch.export.export(torch.nn.Linear(3, 3), (torch.ones(2, 3),))
"""


@dataclass(frozen=True)
class Programs:
    """The example compiled for replicas of 16 samples, and what one process with 32 makes of it."""

    folder: Path
    pef: str
    losses: list[float]
    model: dict[str, torch.Tensor]

    def script(self, name: str, text: str) -> str:
        """A program of its own, beside the PEFs."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


def environment(**more: str) -> dict[str, str]:
    """This process's, with the toolchain and the example on the path, and no group of replicas."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("OMPI_", "PMI", "SLURM_", "MASTER_"))
    }
    path = os.pathsep.join([str(ROOT), str(EXAMPLE.parent)])
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    few_cores = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none"}
    return {**kept, **root, **few_cores, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


def run(*words: str, with_errors: bool = False, **variables: str) -> str:
    """What a command prints, `with_errors` behind it. It must succeed."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=SECONDS, env=environment(**variables), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + (done.stderr if with_errors else "")


def losses(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"Loss: (\d+\.\d+)", text)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    folder = tmp_path_factory.mktemp("replicas")
    in_this_process("compile", "-b", "16", "--data-parallel", "-ws", "2", f"--output-folder={folder}", "--pef-name=two")
    in_this_process("compile", "-b", "32", f"--output-folder={folder}", "--pef-name=one")
    checkpoint = folder / "one.pt"
    printed = in_this_process("run", "-b", "32", f"--pef={folder}/one/one.pef", "-e", "2", f"--checkpoint={checkpoint}")
    return Programs(folder, f"{folder}/two/two.pef", losses(printed), torch.load(checkpoint))


def in_this_process(*words: str) -> str:
    """What the example prints, run alone."""
    main = runpy.run_path(str(EXAMPLE))["main"]
    samba.session.reset()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(list(words))
    samba.session.reset()
    return printed.getvalue()


def assert_same_training(programs: Programs, printed: str, checkpoint: Path) -> None:
    assert losses(printed) == pytest.approx(programs.losses, rel=1e-4)
    model = torch.load(checkpoint)
    assert model.keys() == programs.model.keys()
    for name, tensor in model.items():
        torch.testing.assert_close(tensor, programs.model[name], rtol=1e-4, atol=1e-5)


def options(programs: Programs, checkpoint: Path) -> list[str]:
    words = ["run", "-b", "16", "--data-parallel", "--reduce-on-rdu", f"--pef={programs.pef}"]
    return [*words, "-e", "2", f"--checkpoint={checkpoint}"]


def test_torchrun_and_a_replica_that_is_late(programs: Programs, tmp_path: Path) -> None:
    """Who waits says so, and goes on when the other comes: the training is that of one process."""
    starter = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    starter += ["--master-port", str(free_port()), programs.script("late.py", IS_LATE)]
    printed = run(*starter, *options(programs, tmp_path / "two.pt"), with_errors=True)
    assert "waiting for the other replica for 1 s; after 300 s this replica stops" in printed
    assert_same_training(programs, printed, tmp_path / "two.pt")


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun here")
def test_mpirun_with_a_program_that_asks_for_mpi_itself(programs: Programs, tmp_path: Path) -> None:
    script = programs.script("own_group.py", OWN_GROUP)
    printed = run("mpirun", "-np", "2", sys.executable, script, *options(programs, tmp_path / "two.pt"))
    assert_same_training(programs, printed, tmp_path / "two.pt")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed where Linux lists them")
def test_the_threads_of_a_group_end_before_the_interpreter(programs: Programs) -> None:
    """Else they abort the process, sometimes, by what they still hold of Python's."""
    script = programs.script("traces.py", TRACES_IN_A_GROUP)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    assert "gloo" not in run(sys.executable, script, **alone)


@dataclass(frozen=True)
class Ended:
    """What a replica said and how it ended."""

    status: int
    printed: str
    complaint: str


def started(words: Sequence[list[str]], wait_for: int = 1, **variables: str) -> list[Ended]:
    """The first `wait_for` of two replicas, each with its own command line, when they have ended; no other goes on."""
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **variables}
    with contextlib.ExitStack() as ending:
        replicas = []
        for rank in range(2):
            replica = subprocess.Popen(
                words[rank],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(RANK=str(rank), **meeting),
            )
            replicas.append(ending.enter_context(replica))
            ending.callback(replica.kill)
        said = [replica.communicate(timeout=SECONDS) for replica in replicas[:wait_for]]
        return [Ended(replica.returncode, *texts) for replica, texts in zip(replicas, said)]


@pytest.mark.parametrize(("fate", "patience"), [("dies", "120"), pytest.param("hangs", "5", marks=pytest.mark.full)])
def test_a_lost_replica_is_one_error_for_the_others(
    programs: Programs, tmp_path: Path, fate: str, patience: str
) -> None:
    script = programs.script(f"{fate}.py", LOSES_A_REPLICA)
    words = [sys.executable, script, fate, *options(programs, tmp_path / "never.pt")]
    first = started([words] * 2, CCL_TIMEOUT=patience)[0]
    assert first.status not in (0, None)
    complaint = first.complaint
    errors = [line for line in complaint.splitlines() if "error[" in line]
    assert len(errors) == 1 and "error[REPLICA]: the other replica stopped" in errors[0], complaint
    assert f"{fate}.py:" in complaint, "the user's own line"
    assert "Traceback" not in complaint
    assert not (tmp_path / "never.pt").exists()


def test_replicas_with_different_learning_rates_are_refused(programs: Programs, tmp_path: Path) -> None:
    words = [sys.executable, str(EXAMPLE), *options(programs, tmp_path / "never.pt")]
    for ended in started([[*words, "--lr", rate] for rate in ("0.1", "0.2")], wait_for=2):
        assert ended.status not in (0, None)
        assert "update with different numbers: rank 0 has lr 0.1; rank 1 has lr 0.2" in ended.complaint
        assert "Traceback" not in ended.complaint
    assert not (tmp_path / "never.pt").exists()


def test_the_wait_is_bounded_by_an_option(programs: Programs, tmp_path: Path) -> None:
    script = programs.script("hangs_long.py", LOSES_A_REPLICA)
    words = [sys.executable, script, "hangs", *options(programs, tmp_path / "never.pt"), "--replica-timeout", "3"]
    first = started([words] * 2)[0]
    assert first.status not in (0, None)
    assert "did not answer for 3 s" in first.complaint and "Traceback" not in first.complaint


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
