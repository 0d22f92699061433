"""Nests of two loops: simulated cycles equal closed forms exactly, where memory is faster than all stages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pef import pef_pb2 as pb
from pef.machine import Tier
from runtime.timing import Execution, StageReport, simulate
from tests.pef.nests import attention, inner_sum, maximum, outer_sum, resident, stationary
from tests.pef.samples import ConfigurationBuilder
from tests.timing.build import FREE_MEMORY, bf16, execution_of, hops, matmul, pef_of, stage_reports

AGCU = 64
"""Bytes per cycle of the one AGCU of each stream."""


def transfer(nbytes: int) -> float:
    """Cycles of a transfer."""
    return nbytes / AGCU


def last(execution: Execution, configuration: pb.Configuration, stage: int, stream: int) -> float:
    """When what the last firing of a stage writes has been stored by a stream."""
    report = stage_reports(execution)[stage]
    store = execution.phases[-1].streams[stream]
    way = hops(configuration, len(execution.phases) - 1, pb.Net.STORE, stream)
    return report.starts[-1] + report.latency_cycles + way + transfer(store.transfer_bytes)


def gaps(stage: StageReport) -> list[float]:
    """Cycles between firings."""
    return [after - before for before, after in zip(stage.starts, stage.starts[1:])]


def test_a_stationary_block_costs_its_first_load_only() -> None:
    """12 products of 128 cycles, x streamed three times, each block of w while the one before is used."""
    configuration = stationary()
    execution = execution_of(configuration)
    (gemm,) = stage_reports(execution)
    x, w, y = execution.phases[0].streams
    assert gemm.events == 12 and gemm.loops == (3, 4)
    assert (len(x.ends), len(w.ends), len(y.ends)) == (12, 3, 12)
    assert (x.total_bytes, w.total_bytes, y.total_bytes) == (3 * 64 * 32 * 2, 32 * 72 * 2, 64 * 72 * 2)
    first = max(
        transfer(size) + hops(configuration, 0, pb.Net.LOAD, load) + hops(configuration, 0, pb.Net.READ, 0, port)
        for load, port, size in ((0, 0, 16 * 32 * 2), (1, 1, 32 * 24 * 2))
    )
    assert gemm.interval_cycles == 128
    assert gaps(gemm) == [128] * 11
    assert execution.cycles == first + 11 * 128 + gemm.latency_cycles + hops(
        configuration, 0, pb.Net.STORE, 2
    ) + transfer(16 * 24 * 2)


def test_the_slowest_of_attention_sets_the_pace_across_heads() -> None:
    """K and V of the next head are loaded while this one computes: no gap where the head changes."""
    configuration = attention(depth=4)
    execution = execution_of(configuration)
    scores, softmax, values = stage_reports(execution)
    assert [stage.events for stage in (scores, softmax, values)] == [12] * 3
    assert softmax.interval_cycles == max(stage.interval_cycles for stage in (scores, softmax, values))
    assert gaps(softmax) == [softmax.interval_cycles] * 11
    k = execution.phases[0].streams[1]
    assert len(k.ends) == 3
    assert k.begins[2] == scores.starts[3] + scores.interval_cycles, "its place is free when the first head is done"
    assert execution.cycles == last(execution, configuration, 2, 3)


def test_k_and_v_are_read_once_a_head_and_the_scores_never_leave() -> None:
    execution = execution_of(attention())
    tensor = 3 * 64 * 32 * 2
    assert execution.read_bytes[0] == 3 * tensor
    assert execution.write_bytes[0] == tensor


@pytest.mark.parametrize("depth", [1, 2])
def test_an_inner_sum_goes_on_in_the_outer_tempo(depth: int) -> None:
    """The reader of a sum fires once its last part is in; a sum in one place makes the next wait for the reader."""
    configuration = inner_sum(depth=depth)
    execution = execution_of(configuration)
    product, exp = stage_reports(execution)
    assert (product.events, exp.events, exp.level) == (12, 3, 1)
    way = product.latency_cycles + hops(configuration, 0, pb.Net.READ, 1)
    for block, start in enumerate(exp.starts):
        assert start == product.starts[4 * block + 3] + way
    if depth == 1:
        assert [product.starts[4 * block] for block in (1, 2)] == [s + exp.interval_cycles for s in exp.starts[:2]]
        assert product.time.output > 0
    else:
        assert gaps(product) == [product.interval_cycles] * 11
    assert execution.cycles == last(execution, configuration, 1, 2)


def test_an_outer_sum_ends_its_phase() -> None:
    configuration = outer_sum()
    execution = execution_of(configuration)
    (product, exp) = stage_reports(execution)
    assert [phase.loops for phase in execution.phases] == [(3, 4), (4,)]
    assert gaps(product) == [product.interval_cycles] * 11
    assert execution.phases[1].start == product.starts[-1] + product.latency_cycles
    assert exp.starts[0] == execution.phases[1].start
    assert execution.cycles == last(execution, configuration, 1, 0)


def test_blocks_of_a_resident_load_are_loaded_once_and_waited_for_one_by_one() -> None:
    slow = replace(FREE_MEMORY, agcu_bytes_per_cycle=4)
    configuration = resident()
    execution = execution_of(configuration, slow)
    (gemm,) = stage_reports(execution)
    x, w, _ = execution.phases[0].streams
    assert (len(x.ends), len(w.ends)) == (3, 4)
    assert w.total_bytes == 32 * 96 * 2
    way = hops(configuration, 0, pb.Net.LOAD, 1) + hops(configuration, 0, pb.Net.READ, 0, 1)
    assert [w.ends[i] for i in range(4)] == [(i + 1) * 32 * 24 * 2 / 4 for i in range(4)]
    first_row = [max(w.ends[i] + way, x.ends[0] + way) for i in range(4)]
    for event in range(4):
        before = gemm.starts[event - 1] + gemm.interval_cycles if event else 0
        assert gemm.starts[event] >= max(first_row[event] - way, before)
    assert gemm.starts[3] == w.ends[3] + way


def test_a_row_of_scores_waits_for_its_maximum() -> None:
    configuration = maximum()
    exp, amax, sub = stage_reports(execution_of(configuration))
    way = amax.latency_cycles + hops(configuration, 0, pb.Net.READ, 2, 1)
    assert [sub.starts[4 * block] for block in range(3)] == [amax.starts[4 * block + 3] + way for block in range(3)]
    assert [exp.starts[4 * block] for block in (1, 2)] == [
        sub.starts[4 * block] + sub.interval_cycles for block in (0, 1)
    ]


def two_phases_of_weights() -> pb.Configuration:
    """Two phases of one product each over the same held activation, both with blocks of weights streamed in."""
    b = ConfigurationBuilder(FREE_MEMORY)
    x, ws, ys = bf16(32, 64), bf16(64, 512), bf16(32, 512)
    slots = [b.slot(tensor) for tensor in (x, ws, ys, ws, ys)]
    held = b.buffer("x", x, pmus=4)
    for number in range(2):
        w, y = b.buffer(f"w{number}", ws, 1, 8, 2, pmus=4), b.buffer(f"y{number}", ys, 1, 8, 2)
        b.phase(8)
        stage = b.stage(f"gemv{number}")
        stage.write(stage.apply(matmul(), stage.read(held), stage.read(w, 1), axis=1), y)
        stage.place(columns=4)
        if number == 0:
            b.load(slots[0], held, agcus=(0,))
        b.load(slots[1 + 2 * number], w, 1, agcus=(1 + number,))
        b.store(slots[2 + 2 * number], y, 1, agcus=(3 + number,))
    return b.build()


def test_streamed_weights_of_the_next_phase_load_while_this_one_executes() -> None:
    """As many as their ring holds, from when the phase before executes; the rest in step."""
    execution = execution_of(two_phases_of_weights())
    first, second = execution.phases
    ready = first.streams[0].ends[0] + hops(two_phases_of_weights(), 0, pb.Net.LOAD, 0)
    weights = second.streams[0]
    assert weights.begins[0] == ready < second.start
    assert weights.begins[1] == weights.ends[0] < second.start
    assert weights.begins[2] >= second.start
    assert stage_reports(execution)[1].starts[0] == second.start


def test_a_streamed_load_waits_for_an_earlier_store_of_its_symbol() -> None:
    pef = pef_of(two_phases_of_weights(), FREE_MEMORY)
    first = simulate(pef).sections[0].execution.phases[1].streams[0].begins[0]
    pef.sections[0].bindings[2], pef.symbols[2].type.shape[:] = 3, (64, 512)
    phases = simulate(pef).sections[0].execution.phases
    assert phases[1].streams[0].begins[0] == phases[0].streams[2].ends[-1] > first


def test_slow_memory_is_the_limit_of_streamed_weights_across_phases() -> None:
    """Both phases' weights, once: lost are the first whole load, and what the ring cannot hold between phases."""
    slow = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, 20e9),))
    execution = execution_of(two_phases_of_weights(), slow)
    moved = sum(execution.read_bytes) + sum(execution.write_bytes)
    assert execution.cycles < 1.07 * moved / 20
