"""Which of several processes this is, as those who start processes say: torchrun, Open MPI, MPICH (PMI) and Slurm.

They number the processes in environment variables. Where the processes meet is said by torchrun alone (MASTER_ADDR and
MASTER_PORT, which count for the others too where they are set); else they meet at rank 0's machine, at a port that
follows from the number of the job.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ir.errors import Problem, ReplicaError

LOWEST_PORT, PORTS = 20_000, 12_000
"""Ports for processes to meet at: below those that systems give out by themselves."""


@dataclass(frozen=True)
class Starter:
    """The environment variables of one way to start processes; `job` are those that tell one job from another."""

    rank: str
    size: str
    local_size: str
    job: tuple[str, ...]


STARTERS = (
    Starter("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", ("TORCHELASTIC_RUN_ID",)),
    Starter("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", ("PMIX_NAMESPACE",)),
    Starter("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS", ("PMI_JOBID", "SLURM_JOB_ID", "SLURM_STEP_ID")),
    Starter("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS_PER_NODE", ("SLURM_JOB_ID", "SLURM_STEP_ID")),
)


@dataclass(frozen=True)
class Launch:
    """This process among `size`; `local_size` of them run on this machine. They meet at address and port."""

    rank: int
    size: int
    local_size: int
    address: str
    port: int


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """What the environment says of this process; None where it was started alone.

    Raises ReplicaError where processes on several machines are not told where to meet.
    """
    for starter in STARTERS:
        if starter.rank in environment and starter.size in environment:
            return _read(starter, environment)
    return None


def _read(starter: Starter, environment: Mapping[str, str]) -> Launch:
    rank, size = int(environment[starter.rank]), int(environment[starter.size])
    local_size = int(environment.get(starter.local_size, _local(size, environment)))
    address = environment.get("MASTER_ADDR") or _address(size, local_size, environment)
    port = int(environment.get("MASTER_PORT") or _port(starter, environment))
    return Launch(rank, size, local_size, address, port)


def _local(size: int, environment: Mapping[str, str]) -> int:
    """Processes on this machine where the starter does not say: an equal share of the nodes that Slurm counts."""
    return max(1, size // int(environment.get("SLURM_STEP_NUM_NODES", "1")))


def _address(size: int, local_size: int, environment: Mapping[str, str]) -> str:
    if local_size >= size:
        return "127.0.0.1"
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    if nodes:
        return _first_node(nodes)
    hint = "set MASTER_ADDR to the name of the machine that runs rank 0, for all processes"
    raise ReplicaError(
        Problem(f"the {size} processes run on several machines and do not know where to meet", hint=hint)
    )


def _first_node(nodes: str) -> str:
    """`rack1-07` of `rack1-[07-09,12],rack2-01`."""
    return re.sub(r"\[([^-,\]]+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


def _port(starter: Starter, environment: Mapping[str, str]) -> int:
    """The same for all processes of a job: from its number, or else from the process that started them."""
    known = [environment[name] for name in starter.job if name in environment]
    job = " ".join(known) or str(os.getppid())
    return LOWEST_PORT + int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], "big") % PORTS
