"""Barriers, prefetching, accumulators, and what a section costs besides executing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ir.errors import UsageError
from pef import pef_pb2 as pb
from pef.machine import Tier
from runtime.timing import Execution, Report, simulate
from tests.pef.samples import MACHINE, SAMPLES, ConfigurationBuilder
from tests.timing.build import (
    FREE_MEMORY,
    bf16,
    chain,
    execution_of,
    gemm,
    hops,
    matmul,
    op,
    pef_of,
    stage_reports,
)


def two_layers() -> pb.Configuration:
    """Phase 0: h = x @ a by rows, h held whole; phase 1: y = h @ b by rows; both weights resident."""
    b = ConfigurationBuilder(FREE_MEMORY)
    slots = [b.slot(t) for t in (bf16(256, 64), bf16(64, 64), bf16(64, 64), bf16(256, 64))]
    x = b.buffer("x", bf16(256, 64), 0, 4, 2)
    held = b.buffer("held", bf16(256, 64), 0, 4, 4)
    weights = [b.buffer(name, bf16(64, 64), pmus=4) for name in ("a", "b")]
    y = b.buffer("y", bf16(256, 64), 0, 4, 2)
    for number, (source, target) in enumerate(((x, held), (held, y))):
        b.phase(4)
        stage = b.stage(f"layer{number}")
        stage.write(stage.apply(matmul(), stage.read(source, 0), stage.read(weights[number]), axis=0), target)
        stage.place()
        b.load(slots[1 + number], weights[number], agcus=(number,))
        if number == 0:
            b.load(slots[0], x, 0, agcus=(5,))
        else:
            b.store(slots[3], y, 0, agcus=(6,))
    return b.build()


def test_second_phase_waits_for_the_last_result_of_the_first() -> None:
    execution = execution_of(two_layers())
    first, second = stage_reports(execution)
    assert execution.phases[1].start == execution.phases[0].end == first.starts[-1] + first.latency_cycles
    assert second.starts[0] == execution.phases[1].start


def test_weights_of_the_next_phase_load_while_this_one_executes() -> None:
    execution = execution_of(two_layers())
    weight_a, weight_b = execution.phases[0].streams[0], execution.phases[1].streams[0]
    hop = hops(two_layers(), 0, pb.Net.LOAD, 0)
    assert weight_a.begins[0] == 0
    assert weight_b.begins[0] == weight_a.ends[0] + hop
    assert weight_b.ends[0] < execution.phases[1].start


def test_slow_weights_hold_the_phase_up_and_count_as_memory() -> None:
    slow = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, 1e9),))
    second = stage_reports(execution_of(two_layers(), slow))[1]
    assert second.time.dram > 0 and second.time.fill == 0


def test_a_load_waits_for_an_earlier_store_to_its_slot() -> None:
    configuration = two_layers()
    store = configuration.phases[0].streams.add(store=True, slot=2, buffer=1, axes=[0], agcus=[7])
    store.values.add().CopyFrom(configuration.phases[0].streams[1].values[0])
    source, ends = configuration.buffers[1].units[0], FREE_MEMORY.agcu_sites[7]
    start = configuration.units[source].site
    net = configuration.nets.add(phase=0, stream=2, kind=pb.Net.STORE, bytes=64)
    net.source.unit = source
    net.sinks.add(agcu=7)
    path = [start]
    while path[-1] % FREE_MEMORY.columns:
        path.append(path[-1] - 1)
    while path[-1] != ends:
        path.append(path[-1] + (FREE_MEMORY.columns if path[-1] < ends else -FREE_MEMORY.columns))
    net.route.extend(end for link in itertools.pairwise(path) for end in link)
    phases = execution_of(configuration).phases
    assert phases[1].streams[0].begins[0] == phases[0].streams[2].ends[-1]


def test_an_accumulator_is_complete_after_the_last_tile() -> None:
    pef = SAMPLES["two_phases"]()
    phases = simulate(pef).sections[0].execution.phases
    (product,), (scaling,) = phases[0].stages, phases[1].stages
    assert phases[0].end == product.starts[-1] + product.latency_cycles
    assert scaling.starts[0] >= phases[0].end


def test_whole_store_follows_the_last_tile() -> None:
    configuration = chain((4, 4), 4).build()
    store = configuration.phases[0].streams[1]
    del store.axes[:]
    execution = execution_of(configuration)
    (stage,) = stage_reports(execution)
    stream = execution.phases[0].streams[1]
    assert len(stream.begins) == 1
    assert stream.begins[0] == stage.starts[-1] + stage.latency_cycles + hops(configuration, 0, pb.Net.STORE, 1)
    assert execution.cycles == stream.ends[0]


def test_stores_drain_while_the_next_phase_runs() -> None:
    slow = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, 8e9),))
    b = ConfigurationBuilder(slow)
    tensor = bf16(64, 64)
    slots = [b.slot(tensor), b.slot(tensor)]
    buffers = [b.buffer(name, tensor, 0, 4, 4) for name in ("x", "h", "y")]
    for number in range(2):
        b.phase(4)
        stage = b.stage(f"s{number}")
        stage.write(stage.apply(op("exp"), stage.read(buffers[number], 0), axis=0), buffers[number + 1])
        stage.place()
        if number == 0:
            b.load(slots[0], buffers[0], 0, agcus=(0,))
            b.store(slots[1], buffers[1], -1, agcus=(1,))
    execution = execution_of(b.build(), slow)
    store = execution.phases[0].streams[1]
    assert store.ends[0] > execution.phases[1].start
    assert execution.cycles == store.ends[0]


def in_one_place(*, loaded: bool, after: int, holds_both: bool = False, bytes_per_s: float = 1e15) -> Execution:
    """x, then a, b and c, each of which a phase makes of the one before; a is stored. In the last phase, what lives in
    a's PMU is `after` phases younger than a's last reader: a weight that is loaded, or the phase's result."""
    tier = Tier("ddr", 1 << 40, bytes_per_s)
    tensor = bf16(64, 64)
    machine = replace(FREE_MEMORY, tiers=(tier,), pmu_bytes=tensor.nbytes * (2 if holds_both else 1))
    b = ConfigurationBuilder(machine)
    slots = [b.slot(tensor) for _ in range(3)]
    values = [b.buffer(f"v{number}", tensor, 0, 4, 4) for number in range(2 + after)]
    place = b.record.buffers[values[1]].units
    weight = b.buffer("weight", tensor, units=place if loaded else ())
    result = b.buffer("result", tensor, 0, 4, 4, units=() if loaded else place)
    for number, (source, target) in enumerate(itertools.pairwise((*values, result))):
        b.phase(4)
        stage = b.stage(f"s{number}")
        operands = [stage.read(source, 0)]
        if number == after + 1:
            operands.append(stage.read(weight))
        stage.write(stage.apply(matmul() if len(operands) > 1 else op("exp"), *operands, axis=0), target)
        stage.place()
        if number == 0:
            b.load(slots[0], values[0], 0, agcus=(0,))
            b.store(slots[1], values[1], -1, agcus=(1,))
        if number == after + 1:
            b.load(slots[2], weight, agcus=(2,))
    return execution_of(b.build(), machine)


def test_a_load_begins_with_its_phase_where_the_phase_before_still_uses_its_place() -> None:
    phases = in_one_place(loaded=True, after=1).phases
    assert phases[2].streams[0].begins[0] == phases[2].start
    phases = in_one_place(loaded=True, after=2).phases
    assert phases[2].start <= phases[3].streams[0].begins[0] < phases[3].start


def test_a_pmu_with_room_for_both_makes_no_load_wait() -> None:
    phases = in_one_place(loaded=True, after=1, holds_both=True).phases
    assert phases[1].start <= phases[2].streams[0].begins[0] < phases[2].start


@pytest.mark.parametrize("loaded", [True, False])
def test_what_takes_the_place_of_a_stored_buffer_waits_for_the_store(loaded: bool) -> None:
    phases = in_one_place(loaded=loaded, after=2, bytes_per_s=1e8).phases
    store = phases[0].streams[1]
    assert store.ends[0] > phases[2].start
    begun = phases[3].streams[0].begins[0] if loaded else phases[3].stages[0].starts[0]
    assert begun >= store.ends[0]


def section_loads(report: Report) -> list[float]:
    """Program load of each section in microseconds."""
    return [report.us(section.program_load_cycles) for section in report.sections]


def test_same_configuration_in_a_row_is_loaded_once() -> None:
    assert section_loads(simulate(SAMPLES["residual"]())) == [1.0, 0.0]
    assert section_loads(simulate(SAMPLES["step"]())) == [1.0, 1.0, 1.0]
    assert section_loads(simulate(SAMPLES["step"](), [0, 2])) == [1.0, 0.0]


def test_section_is_launch_loads_and_execution() -> None:
    report = simulate(SAMPLES["step"]())
    section = report.sections[1]
    assert section.start == report.sections[0].cycles
    assert report.us(section.load_cycles) == MACHINE.launch_us + MACHINE.program_load_us + MACHINE.argument_load_us
    assert section.cycles == section.load_cycles + section.execution.cycles
    assert report.cycles == sum(s.cycles for s in report.sections)
    assert report.ns(report.cycles) == pytest.approx(1e3 * report.us(report.cycles))


def test_one_simulation_per_configuration_and_tiers() -> None:
    machine = replace(FREE_MEMORY, tiers=(*FREE_MEMORY.tiers, Tier("ddr", 1 << 40, 1e9)))
    pef = pef_of(gemm(64, 32, 12, machine=machine).build(), machine, sections=3)
    pef.sections[2].bindings[0] = len(pef.symbols)
    pef.symbols.add(name="slow", type=pef.symbols[0].type, kind="input", persistent=True, tier=1)
    first, second, third = (section.execution for section in simulate(pef).sections)
    assert first is second
    assert third.cycles > first.cycles
    assert third.read_bytes[1] == 64 * 32 * 2


def test_unknown_section_is_refused() -> None:
    with pytest.raises(UsageError, match="the PEF has no section 7"):
        simulate(SAMPLES["step"](), [0, 7])


@pytest.mark.parametrize("name", SAMPLES)
def test_two_simulations_are_equal_to_the_last_bit(name: str) -> None:
    assert simulate(SAMPLES[name]()) == simulate(SAMPLES[name]())


@pytest.mark.parametrize("name", SAMPLES)
def test_the_clock_scales_only_what_memory_does_not_bound(name: str) -> None:
    pef = SAMPLES[name]()
    slow = simulate(pef)
    pef.machine.clock_ghz *= 2
    fast = simulate(pef)
    assert 0.5 <= fast.us(fast.cycles) / slow.us(slow.cycles) <= 1
