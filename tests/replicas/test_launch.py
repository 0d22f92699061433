"""Rank, size and meeting place from the environments of torchrun, Open MPI, MPICH and Slurm."""

from __future__ import annotations

import pytest

from ir.errors import ReplicaError
from sambaflow.samba._replicas.launch import LOWEST_PORT, PORTS, Launch, launched

TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node7", "MASTER_PORT": "29400",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "PMIX_NAMESPACE": "1285226497",
}  # fmt: skip
MPICH = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALNRANKS": "4"}
SLURM = {
    "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "sn30-r1-[h1-h2,h5],sn30-r2-h1",
}  # fmt: skip


def test_alone() -> None:
    assert launched({"SLURM_PROCID": "0", "SLURM_JOB_ID": "1", "MASTER_ADDR": "x"}) is None


def test_torchrun_says_everything() -> None:
    assert launched(TORCHRUN) == Launch(1, 4, 2, "node7", 29400)


@pytest.mark.parametrize(("environment", "rank", "size"), [(OPEN_MPI, 1, 2), (MPICH, 3, 4)])
def test_mpi_on_one_machine(environment: dict[str, str], rank: int, size: int) -> None:
    found = launched(environment)
    assert found is not None and (found.rank, found.size, found.local_size) == (rank, size, size)
    assert found.address == "127.0.0.1" and LOWEST_PORT <= found.port < LOWEST_PORT + PORTS


def test_slurm_names_the_first_node() -> None:
    found = launched(SLURM)
    assert found is not None and (found.rank, found.size, found.local_size) == (5, 8, 4)
    assert found.address == "sn30-r1-h1"


def test_pmi_under_slurm_too() -> None:
    found = launched({**SLURM, "PMI_RANK": "5", "PMI_SIZE": "8"})
    assert found is not None and (found.rank, found.size, found.address) == (5, 8, "sn30-r1-h1")


def test_jobs_meet_at_different_ports_and_their_processes_at_one() -> None:
    ports = {job: {launched({**SLURM, "SLURM_JOB_ID": job, "SLURM_PROCID": r}).port for r in "01"} for job in "12"}  # type: ignore[union-attr]
    assert all(len(found) == 1 for found in ports.values())
    assert ports["1"] != ports["2"]


def test_what_the_user_sets_counts() -> None:
    found = launched({**OPEN_MPI, "MASTER_ADDR": "head", "MASTER_PORT": "7000"})
    assert found is not None and (found.address, found.port) == ("head", 7000)


def test_several_machines_without_a_meeting_place_are_refused() -> None:
    with pytest.raises(ReplicaError, match="do not know where to meet") as error:
        launched({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "4"})
    assert "MASTER_ADDR" in str(error.value)
