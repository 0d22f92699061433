"""PMU ports: what a buffer can send and take, alone and shared."""

from __future__ import annotations

import pytest

from pef import pef_pb2 as pb
from pef.ports import PortLoad
from tests.timing.build import FREE_MEMORY, ConfigurationBuilder, bf16, execution_of, gemm, op, stage_reports


@pytest.mark.parametrize("pmus, expected", [(1, 128), (2, 64), (4, 32)])
def test_interval_follows_the_pmus_of_an_operand(pmus: int, expected: int) -> None:
    """The left operand, 4 KiB, is sent twice: 12 columns are two blocks of 6."""
    (stage,) = stage_reports(execution_of(gemm(64, 32, 12, pmus=pmus, rows=2).build()))
    assert stage.port_cycles == expected
    assert stage.interval_cycles == max(stage.compute_cycles, expected)


def readers(count: int) -> pb.Configuration:
    """`count` stages that read the same ring."""
    b = ConfigurationBuilder(FREE_MEMORY)
    tensor = bf16(256, 64)
    x = b.buffer("x", tensor, 0, 4, 2)
    results = [b.buffer(f"y{i}", tensor, 0, 4, 4) for i in range(count)]
    slot = b.slot(tensor)
    b.phase(4)
    for number, result in enumerate(results):
        stage = b.stage(f"s{number}")
        stage.write(stage.apply(op("relu"), stage.read(x, 0), axis=0), result)
        stage.place(4)
    b.load(slot, x, 0)
    return b.build()


@pytest.mark.parametrize("count, factor", [(1, 1), (2, 1), (3, 1.5), (4, 2)])
def test_two_read_ports_serve_two_readers(count: int, factor: float) -> None:
    alone = 64 * 64 * 2 // 64
    for stage in stage_reports(execution_of(readers(count))):
        assert stage.port_cycles == alone * factor
        assert stage.time.port == 4 * (stage.interval_cycles - stage.compute_cycles)


def test_writers_share_one_port() -> None:
    load = PortLoad(FREE_MEMORY)
    load.add([0, 1], 256, 4, write=True)
    load.add([1], 128, 4, write=True)
    assert load.cycles([0, 1], 256, 4, write=True) == 4
    assert load.cycles([1], 128, 4, write=True) == 4
    assert load.cycles([0], 128, 4, write=True) == 2
    assert load.busy_cycles(1) == 4 * 4


def test_writers_of_other_tempos_count_as_often_as_they_write() -> None:
    load = PortLoad(FREE_MEMORY)
    load.add([0], 640, 4, write=True)
    load.add([0], 1280, 40, write=True)
    assert load.cycles([0], 640, 4, write=True) == (640 + 1280) / 64
    assert load.cycles([0], 1280, 40, write=True) == (64 + 1280) / 64
    assert load.busy_cycles(0) == (4 * 640 + 40 * 1280) / 64
