"""Device memory and clock as the machine file says: a section that waits for memory takes as long as memory takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pef import pef_pb2 as pb
from runtime.timing import SectionReport, simulate
from runtime.timing.report import Bound
from tests.honesty.subjects import compile_function, machine_file

ROWS, COLUMNS = 4096, 512
MOVED_BYTES = 3 * 4 * ROWS * COLUMNS
BANDWIDTH, CLOCK_GHZ = 100e9, 1.4


def addition(folder: Path, **values: float) -> pb.Pef:
    """Adding two matrices moves three and computes next to nothing."""
    shape = (ROWS, COLUMNS)
    return compile_function(torch.add, shape, shape, machine=machine_file(folder, **values), fuse=False)


def section(pef: pb.Pef) -> SectionReport:
    return simulate(pef).sections[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> pb.Pef:
    return addition(tmp_path_factory.mktemp("machines"), bandwidth_bytes_per_s=BANDWIDTH)


def test_memory_bound_time_is_bytes_over_bandwidth(base: pb.Pef) -> None:
    execution = section(base).execution
    needed = MOVED_BYTES / (BANDWIDTH / (CLOCK_GHZ * 1e9))
    assert sum(execution.read_bytes) + sum(execution.write_bytes) == MOVED_BYTES
    assert needed <= execution.cycles <= 1.05 * needed
    assert max(execution.path, key=lambda bound: execution.path[bound]) is Bound.DRAM


def test_half_the_bandwidth_takes_twice_as_long(base: pb.Pef, tmp_path: Path) -> None:
    slow = addition(tmp_path, bandwidth_bytes_per_s=BANDWIDTH / 2)
    assert 1.8 <= section(slow).execution.cycles / section(base).execution.cycles <= 2.1


def test_half_the_bandwidth_of_a_compiled_pef_takes_twice_as_long(base: pb.Pef) -> None:
    slow = pb.Pef.FromString(base.SerializeToString())
    slow.machine.tiers[0].bandwidth_bytes_per_s /= 2
    assert 1.8 <= section(slow).execution.cycles / section(base).execution.cycles <= 2.1


def test_twice_the_clock_leaves_memory_as_slow_as_it_is(base: pb.Pef) -> None:
    fast = pb.Pef.FromString(base.SerializeToString())
    fast.machine.clock_ghz *= 2
    before, after = section(base), section(fast)
    assert 1.9 <= after.execution.cycles / before.execution.cycles <= 2.0
    assert after.launch_cycles == 2 * before.launch_cycles
    assert after.program_load_cycles == 2 * before.program_load_cycles


def test_twice_the_clock_halves_the_time_of_computing(tmp_path: Path) -> None:
    """A product whose operands arrive at once takes the same cycles at any clock."""
    path = machine_file(tmp_path, bandwidth_bytes_per_s="1e18")
    slow = compile_function(torch.matmul, (512, 256), (256, 192), machine=path, fuse=False)
    fast = pb.Pef.FromString(slow.SerializeToString())
    fast.machine.clock_ghz *= 2
    assert section(fast).execution.cycles == pytest.approx(section(slow).execution.cycles, rel=1e-6)


def test_a_slower_float_takes_longer(tmp_path: Path) -> None:
    path = machine_file(tmp_path, bandwidth_bytes_per_s="1e18")
    pef = compile_function(torch.matmul, (512, 256), (256, 192), machine=path, fuse=False)
    slow = pb.Pef.FromString(pef.SerializeToString())
    slow.machine.fp32_cycles_per_vector *= 2
    stages = [section(record).execution.phases[0].stages[0] for record in (pef, slow)]
    assert stages[1].compute_cycles == 2 * stages[0].compute_cycles
    assert section(slow).execution.cycles > section(pef).execution.cycles
