"""Streams that go by an index: when they begin, and what their rows cost, in closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.machine import Machine
from pef.nest import Pick
from runtime.timing import StreamReport
from tests.pef.samples import ConfigurationBuilder
from tests.timing.build import FREE_MEMORY, bf16, execution_of, hops, op, stage_reports

AGCU = 64
"""Bytes per cycle of the one AGCU of each stream."""

INDEX = TensorType(DType.I32, (32,))


def programs(width: int, streamed: bool, machine: Machine = FREE_MEMORY) -> pb.Configuration:
    """y[ids] = |x[ids]| for 32 rows of `width` numbers, in 8 slices; what goes by index moves whole, or by slice."""
    b = ConfigurationBuilder(machine)
    cut = 0 if streamed else ()
    table, rows = bf16(500, width), bf16(32, width)
    ids = b.buffer("ids", INDEX)
    x = b.buffer("x", rows, cut, 8 if streamed else (), 2 if streamed else 1, pmus=4)
    y = b.buffer("y", rows, 0, 8, 2 if streamed else 8, pmus=4)
    slots = b.slot(INDEX), b.slot(table), b.slot(table)
    b.phase(8)
    stage = b.stage("abs")
    stage.write(stage.apply(op("abs"), stage.read(x, 0), axis=0), y)
    stage.place(rows=4)
    b.load(slots[0], ids, agcus=(0,))
    for stream in (b.load(slots[1], x, cut, agcus=(1,)), b.store(slots[2], y, cut, agcus=(2,))):
        stream.index.buffer, stream.index.axis = ids, 0
    return b.build()


def streams(configuration: pb.Configuration, machine: Machine = FREE_MEMORY) -> tuple[StreamReport, ...]:
    return execution_of(configuration, machine).phases[0].streams


def guided(configuration: pb.Configuration, stream: int) -> int:
    """Cycles from the end of the index's load to the AGCU that goes by it."""
    return hops(configuration, 0, pb.Net.LOAD, 0) + hops(configuration, 0, pb.Net.INDEX, stream)


@pytest.mark.parametrize(("width", "burst"), [(8, 64), (32, 64), (40, 128), (256, 512)])
def test_a_whole_gather_follows_its_index_and_moves_whole_bursts(width: int, burst: int) -> None:
    configuration = programs(width, streamed=False)
    ids, rows, _ = streams(configuration)
    assert ids.ends[0] == 32 * 4 / AGCU
    assert rows.begins[0] == ids.ends[0] + guided(configuration, 1)
    assert rows.total_bytes == 32 * burst
    assert rows.ends[0] == rows.begins[0] + 32 * burst / AGCU


def test_a_streamed_gather_keeps_pace_with_its_ring() -> None:
    """Four rows of 2 KiB take 128 cycles, longer than all else: one transfer behind the other."""
    configuration = programs(1024, streamed=True)
    ids, rows, stored = streams(configuration)
    assert rows.begins[0] == ids.ends[0] + guided(configuration, 1)
    assert list(rows.ends) == [rows.begins[0] + 128 * (number + 1) for number in range(8)]
    assert stored.total_bytes == rows.total_bytes == 32 * 2048


def test_a_whole_scatter_follows_the_last_firing() -> None:
    configuration = programs(8, streamed=False)
    (stage,) = stage_reports(execution_of(configuration))
    _, _, stored = streams(configuration)
    assert stored.begins[0] == stage.starts[-1] + stage.latency_cycles + hops(configuration, 0, pb.Net.STORE, 2)
    assert stored.ends[0] == stored.begins[0] + 32 * 64 / AGCU


def test_longer_bursts_cost_short_rows_more() -> None:
    machine = replace(FREE_MEMORY, memory_burst_bytes=256)
    _, rows, _ = streams(programs(8, streamed=False, machine=machine), machine)
    assert rows.total_bytes == 32 * 256


@pytest.mark.parametrize(
    ("part", "runs"),
    [
        ((2, 5, 6, 8), (10, 96)),  # all that follows the index: one stretch
        ((2, 5, 3, 8), (10, 48)),  # a part of the next axis: one stretch still
        ((2, 5, 6, 4), (60, 8)),  # a part of the last: a stretch for each of those between
        ((1, 1, 1, 1), (1, 2)),
    ],
)
def test_stretches_of_memory(part: tuple[int, ...], runs: tuple[int, int]) -> None:
    """Of a symbol [2, 9, 6, 8] picked along its second axis by five numbers."""
    assert Pick(1, (5,)).runs(bf16(2, 9, 6, 8), bf16(*part)) == runs
