"""What the exchange costs in simulated time, against the formulas of docs/timing.md written out once more."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pef import pef_pb2 as pb
from pef.exchange import Replicas
from runtime.timing import Bound, Report, simulate
from tests.pef.samples import ConfigurationBuilder
from tests.timing.build import FREE_MEMORY, bf16, op, pef_of

ROWS, COLUMNS, TILES = 64, 96, 8
MACHINE = replace(FREE_MEMORY, clock_ghz=1.25, ring_bytes_per_s=10e9, ring_step_us=2.0, host_bytes_per_s=5e9)


def reducing(stages: int = 1, name: str = "all_reduce") -> pb.Pef:
    """A phase in which so many stages each average a bf16 tensor of ROWS * TILES x COLUMNS."""
    b = ConfigurationBuilder(MACHINE)
    tensor = bf16(ROWS * TILES, COLUMNS)
    pairs = [tuple(b.buffer(f"{side}{i}", tensor, 0, TILES, TILES) for side in "xy") for i in range(stages)]
    b.phase(TILES)
    for source, target in pairs:
        stage = b.stage("mean")
        stage.write(stage.apply(op(name), stage.read(source, 0), axis=0), target)
        stage.place()
    for source, target in pairs:
        b.load(b.slot(tensor), source, 0)
        b.store(b.slot(tensor), target, 0)
    return pef_of(b.build(), MACHINE)


def execution(report: Report) -> float:
    return report.sections[0].execution.cycles


TILE_BYTES = 2 * ROWS * COLUMNS


@pytest.mark.parametrize("replicas", [2, 3, 8, 512])
def test_a_ring_sends_almost_two_copies_in_two_rounds(replicas: int) -> None:
    report = simulate(reducing(), replicas=Replicas(replicas, on_rdu=True))
    (stage,) = report.sections[0].execution.phases[0].stages
    assert stage.exchange_cycles == math.ceil(2 * (replicas - 1) * TILE_BYTES / replicas / 8)  # 10e9 / 1.25e9 bytes
    assert stage.interval_cycles == stage.exchange_cycles
    assert stage.starts[0] >= 2 * (replicas - 1) * 2500
    assert [b - a for a, b in zip(stage.starts, stage.starts[1:])] == [stage.exchange_cycles] * (TILES - 1)
    assert report.sections[0].bound is (Bound.EXCHANGE if replicas < 8 else Bound.FILL)


def test_the_host_takes_every_byte_twice_whatever_the_number_of_replicas() -> None:
    few, many = (simulate(reducing(), replicas=Replicas(n, on_rdu=False)) for n in (2, 64))
    assert execution(few) == execution(many)
    (stage,) = few.sections[0].execution.phases[0].stages
    assert stage.exchange_cycles == 2 * TILE_BYTES / 4


def test_stages_side_by_side_share_the_link() -> None:
    one, three = (simulate(reducing(n), replicas=Replicas(4)).sections[0].execution.phases[0] for n in (1, 3))
    assert {stage.exchange_cycles for stage in three.stages} == {3 * one.stages[0].exchange_cycles}


def test_a_replica_alone_exchanges_nothing() -> None:
    alone, local = simulate(reducing()), simulate(reducing(name="neg"), replicas=Replicas(4))
    assert alone.sections[0].execution.phases[0].stages[0].exchange_cycles == 0
    assert execution(alone) < execution(simulate(reducing(), replicas=Replicas(2)))
    assert local.sections[0].execution.path[Bound.EXCHANGE] == 0


def test_where_the_time_went_adds_up() -> None:
    run = simulate(reducing(2), replicas=Replicas(4)).sections[0].execution
    assert sum(run.path.values()) == pytest.approx(run.cycles)
    for stage in run.phases[0].stages:
        assert stage.time.total == pytest.approx(run.phases[0].end - run.phases[0].start)
        assert stage.time.exchange == TILES * (stage.exchange_cycles - stage.compute_cycles)
