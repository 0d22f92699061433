"""Rings: their depth sets how far stages run ahead of one another."""

from __future__ import annotations

import pytest

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.codec import parallelism, stage_work
from pef.cycles import fill_cycles
from tests.timing.build import FREE_MEMORY, ConfigurationBuilder, bf16, chain, execution_of, hops, op, stage_reports

TILES = 16


def round_trip(configuration: pb.Configuration) -> int:
    """Cycles from a firing of stage 0 to the end of stage 1's firing on the same tile."""
    first = configuration.phases[0].stages[0]
    second = stage_reports(execution_of(configuration))[1]
    fill = fill_cycles(stage_work(first), parallelism(first), FREE_MEMORY)
    interval = stage_reports(execution_of(configuration))[0].interval_cycles
    way = hops(configuration, 0, pb.Net.WRITE, 0) + hops(configuration, 0, pb.Net.READ, 1)
    return interval + fill + way + second.interval_cycles


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_period_is_round_trip_over_depth(depth: int) -> None:
    configuration = chain((TILES, depth, TILES), TILES, rows=8).build()
    execution = execution_of(configuration)
    starts = stage_reports(execution)[0].starts
    interval = stage_reports(execution)[0].interval_cycles
    expected = max(interval, round_trip(configuration) / depth)
    steady = (starts[TILES - 1] - starts[TILES - 1 - 2 * depth]) / (2 * depth)
    assert steady == expected


def test_depth_one_serialises_and_depth_two_overlaps() -> None:
    shallow, deep = (execution_of(chain((TILES, depth, TILES), TILES, rows=64).build()) for depth in (1, 2))
    assert stage_reports(shallow)[0].time.output > 0
    assert stage_reports(deep)[0].time.output < stage_reports(shallow)[0].time.output / 4
    assert deep.cycles < 0.7 * shallow.cycles


def reconvergent(depth: int) -> ConfigurationBuilder:
    """y = x + exp(exp(exp(x))), where x waits in a ring of `depth` tiles."""
    b = ConfigurationBuilder(FREE_MEMORY)
    tensor = bf16(64 * TILES, 64)
    slots = [b.slot(tensor), b.slot(tensor)]
    x = b.buffer("x", tensor, 0, TILES, depth)
    rings = [b.buffer(f"r{i}", tensor, 0, TILES, 3) for i in range(3)]
    y = b.buffer("y", tensor, 0, TILES, 3)
    b.phase(TILES)
    for number, (source, target) in enumerate(zip([x, *rings], rings)):
        stage = b.stage(f"s{number}")
        stage.write(stage.apply(op("exp"), stage.read(source, 0), axis=0), target)
        stage.place()
    total = b.stage("sum")
    total.write(total.apply(op("add"), total.read(x, 0), total.read(rings[-1], 0), axis=0), y)
    total.place()
    b.load(slots[0], x, 0, agcus=(0,))
    b.store(slots[1], y, 0, agcus=(1,))
    return b


def test_a_short_ring_beside_a_long_path_stalls_the_pipe() -> None:
    cycles = [execution_of(reconvergent(depth).build()).cycles for depth in range(1, 8)]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > 2 * cycles[-1]
    assert cycles[-1] == cycles[-2]


def test_back_pressure_from_a_store_is_put_down_to_memory() -> None:
    execution = execution_of(chain((TILES, 1), TILES, rows=8).build())
    (stage,) = stage_reports(execution)
    assert stage.time.dram > 0 and stage.time.output == 0


def test_reading_a_ring_whole_is_a_deadlock() -> None:
    configuration = chain((TILES, 2, TILES), TILES).build()
    value = configuration.phases[0].stages[1].values[0]
    value.axes[:] = []
    value.type.CopyFrom(configuration.buffers[1].type)
    with pytest.raises(IllegalPefError, match=r"section 'fwd_0' deadlocks: stage 's0' stops after 2 of 16 firings"):
        execution_of(configuration)
