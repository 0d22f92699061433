"""Replicas as processes of torch.distributed: starting their group, and averaging through it.

PyTorch's wheels have no MPI. A program that asks for the `mpi` backend, by name, gets gloo, with rank and size as MPI,
Slurm or torchrun gave them to the process; so does one that is run with --data-parallel and does not ask at all.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ir.errors import Problem, ReplicaError
from ir.op import Array
from sambaflow.logging import samba_logger
from sambaflow.samba._replicas.launch import Launch, launched

TIMEOUT_VARIABLE = "CCL_TIMEOUT"
"""Seconds to wait for the other replicas; the option --replica-timeout sets it too."""
DEFAULT_TIMEOUT_S = 300
REPORT_AFTER_S = 30
"""Seconds after which a replica that waits for the others says so."""

_torchs_own: Callable[..., None] = dist.init_process_group
_started_here = False


def timeout() -> timedelta:
    """How long a replica waits for the others. Raises ReplicaError where the environment gives no number."""
    text = os.environ.get(TIMEOUT_VARIABLE, str(DEFAULT_TIMEOUT_S))
    try:
        seconds = timedelta(seconds=float(text))
    except (ValueError, OverflowError) as error:
        raise ReplicaError(Problem(f"{TIMEOUT_VARIABLE} is {text!r}, which is not a number of seconds")) from error
    if seconds <= timedelta(0):
        raise ReplicaError(Problem(f"{TIMEOUT_VARIABLE} is {text!r}", hint="give the seconds to wait, such as 300"))
    return seconds


def wait_at_most(seconds: float | None) -> None:
    """Bound how long this replica waits for the others; None leaves it as the environment says."""
    if seconds is not None:
        os.environ[TIMEOUT_VARIABLE] = str(seconds)
        timeout()


def start() -> None:
    """Join the other processes of this job, once; a process that was started alone stays so."""
    launch = launched()
    if launch is not None and not dist.is_initialized():
        _join(launch)


def _join(launch: Launch) -> None:
    """Form the group of the processes in `launch`. Raises ReplicaError where they do not find one another."""
    global _started_here
    place = f"tcp://{launch.address}:{launch.port}"
    # torchrun holds its own store at the address it gives
    store = {"init_method": "env://" if "TORCHELASTIC_RUN_ID" in os.environ else place}
    _import_what_keeps_groups()
    try:
        _torchs_own("gloo", rank=launch.rank, world_size=launch.size, timeout=timeout(), **store)
    except (RuntimeError, ValueError) as error:
        hint = f"start all {launch.size}; set MASTER_PORT where the port is taken, {TIMEOUT_VARIABLE} to wait longer"
        what = f"rank {launch.rank} of {launch.size} did not meet the others at {place}: {_first_line(error)}"
        raise ReplicaError(Problem(what, hint=hint)) from error
    _started_here = True
    _label(launch.rank)
    atexit.register(_leave)


def _label(rank: int) -> None:
    """Say in every message which replica it comes from, as torch does for errors; only the first tells what all do."""
    samba_logger.prefix = f"[rank{rank}]: "
    if rank:
        samba_logger.raise_level("warning")


def _import_what_keeps_groups() -> None:
    """Import what tracing needs before there is a group: imported later, it would hold the group for good, whose
    threads then outlive the interpreter and abort the process at its very end."""
    import torch._dynamo  # noqa: F401


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def install() -> None:
    """Have torch.distributed take `mpi` for gloo where torch has no MPI."""
    dist.init_process_group = dist.distributed_c10d.init_process_group = _init_process_group


def _init_process_group(backend: str | None = None, *arguments: Any, **named: Any) -> None:
    """torch.distributed.init_process_group; `mpi` joins the processes that MPI started, through gloo."""
    if _started_here and dist.is_initialized():
        return
    _import_what_keeps_groups()
    if str(backend).lower() != "mpi" or dist.is_mpi_available():
        _torchs_own(backend, *arguments, **named)
        return
    launch = launched()
    if launch is not None:
        _join(launch)
        return
    _torchs_own("gloo", store=dist.HashStore(), rank=0, world_size=1)


@dataclass(frozen=True)
class Group:
    """The processes of torch.distributed as the replicas of a run (`runtime.collective.Collective`)."""

    rank: int
    size: int

    def all_reduce(self, array: Array) -> None:
        """Replace an array by its sum over all replicas. Gloo gives every replica the same bits."""
        self._together(dist.all_reduce, torch.from_numpy(array))

    def largest(self, values: torch.Tensor) -> None:
        """Replace each value by the largest of all replicas."""
        self._together(dist.all_reduce, values, op=dist.ReduceOp.MAX)

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Replace a contiguous tensor by that of rank 0, whatever its element type."""
        self._together(dist.broadcast, tensor.reshape(-1).view(torch.uint8), 0)

    def gather(self, text: str) -> list[str]:
        """The texts of all replicas, by rank."""
        texts: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(texts, text)
        except RuntimeError as error:
            raise self._is_alone(error) from error
        return texts

    def _together(self, operation: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """What all replicas do. Says so where the others let it wait; raises ReplicaError where one of them is gone."""
        try:
            work = operation(*arguments, **named, async_op=True)
            patience = timeout()
            notice = timedelta(seconds=REPORT_AFTER_S)
            if patience > notice and not _is_done(work, notice):
                samba_logger.warning(
                    "waiting for %s for %g s; after %g s this replica stops",
                    self._others, notice.total_seconds(), patience.total_seconds(),
                )  # fmt: skip
                patience -= notice
            work.wait(patience)
        except RuntimeError as error:
            raise self._is_alone(error) from error

    @property
    def _others(self) -> str:
        return "the other replica" if self.size == 2 else f"one of the other {self.size - 1} replicas"

    def _is_alone(self, error: RuntimeError) -> ReplicaError:
        """What torch raises where a replica is gone or late, for people to read."""
        hint = f"see that one's own output; --replica-timeout or {TIMEOUT_VARIABLE}=<seconds> sets how long to wait"
        late = f"did not answer for {timeout().total_seconds():g} s"
        return ReplicaError(Problem(f"{self._others} stopped, or {late} ({_first_line(error)})", hint=hint))


def _is_done(work: Any, patience: timedelta) -> bool:
    """Wait so long for an exchange; whether it is done. Raises RuntimeError where it failed."""
    try:
        work.wait(patience)
    except RuntimeError:
        if work.is_completed():
            raise
        return False
    return True


def group() -> Group:
    """The replicas of this run: one where no group was started."""
    return Group(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Group(0, 1)


def _first_line(error: Exception) -> str:
    """What torch says, without its own source file and line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^\[\S+:\d+\] ", "", text)
