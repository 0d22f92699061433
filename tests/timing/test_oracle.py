"""Random pipelines against an independent recurrence, solved by plain iteration from nothing.

The oracle knows intervals and fill (checked elsewhere), walks routes itself for hops, and raises every start time
until the constraints hold. It shares no code with the simulator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pef import pef_pb2 as pb
from pef.codec import parallelism, stage_work
from pef.cycles import fill_cycles
from runtime.timing import Execution
from tests.timing.build import FREE_MEMORY, ConfigurationBuilder, bf16, execution_of, hops, op, stage_reports


@dataclass(frozen=True)
class Plan:
    """Per stage: the earlier values it reads (0 is the input, i + 1 the result of stage i), its PCUs and its operator;
    per value the depth of its ring."""

    tiles: int
    rows: int
    sources: tuple[tuple[int, ...], ...]
    parallel: tuple[int, ...]
    depths: tuple[int, ...]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Pipelines of up to seven stages; values nobody reads are stored."""
    count = draw(st.integers(1, 7))
    sources = tuple(tuple(draw(st.lists(st.integers(0, i), min_size=1, max_size=2))) for i in range(count))
    return Plan(
        draw(st.integers(1, 9)),
        draw(st.sampled_from((4, 16, 64))),
        sources,
        tuple(draw(st.integers(1, 4)) for _ in range(count)),
        tuple(draw(st.integers(1, 4)) for _ in range(count + 1)),
    )


def stored(plan: Plan) -> list[int]:
    """Values that no stage reads."""
    read = {value for values in plan.sources for value in values}
    return [value for value in range(len(plan.depths)) if value not in read]


def build(plan: Plan) -> pb.Configuration:
    """The plan as a configuration; every stream has an AGCU to itself."""
    b = ConfigurationBuilder(FREE_MEMORY)
    tensor = bf16(plan.rows * plan.tiles, 64)
    axis = 0 if plan.tiles > 1 else -1
    rings = [b.buffer(f"v{i}", tensor, axis, plan.tiles, min(d, plan.tiles)) for i, d in enumerate(plan.depths)]
    b.phase(plan.tiles)
    for number, values in enumerate(plan.sources):
        stage = b.stage(f"s{number}")
        operands = [stage.read(rings[value], axis) for value in values]
        stage.write(stage.apply(op("exp" if len(values) == 1 else "add"), *operands, axis=axis), rings[number + 1])
        stage.place(plan.parallel[number])
    for number, value in enumerate([0, *stored(plan)]):
        slot = b.slot(tensor)
        if number == 0:
            b.load(slot, rings[value], axis, agcus=(number,))
        else:
            b.store(slot, rings[value], axis, agcus=(number,))
    return b.build()


def oracle(plan: Plan, configuration: pb.Configuration, execution: Execution) -> tuple[list[list[float]], float]:
    """Start times of every stage, and the end of the section."""
    tiles, stages = plan.tiles, configuration.phases[0].stages
    interval = [stage.interval_cycles for stage in stage_reports(execution)]
    fill = [fill_cycles(stage_work(s), parallelism(s), FREE_MEMORY) for s in stages]
    transfer = plan.rows * 64 * 2 / 64
    load_hop = hops(configuration, 0, pb.Net.LOAD, 0)
    written = [hops(configuration, 0, pb.Net.WRITE, i) for i in range(len(stages))]
    stores = {value: number + 1 for number, value in enumerate(stored(plan))}
    store_hop = {value: hops(configuration, 0, pb.Net.STORE, number) for value, number in stores.items()}
    start = [[0.0] * tiles for _ in stages]
    loaded, saved = [0.0] * tiles, {value: [0.0] * tiles for value in stores}

    def arrival(value: int, t: int) -> float:
        if value == 0:
            return loaded[t] + load_hop
        producer = value - 1
        return start[producer][t] + interval[producer] + fill[producer] + written[producer]

    def space(value: int, t: int) -> float:
        """When tile t may be written into the ring of `value`."""
        if t < plan.depths[value]:
            return 0
        old = t - plan.depths[value]
        frees = [start[s][old] + interval[s] for s, values in enumerate(plan.sources) if value in values]
        return max(frees + ([saved[value][old]] if value in saved else []))

    while True:
        before = ([list(times) for times in start], list(loaded), {v: list(times) for v, times in saved.items()})
        for t in range(tiles):
            loaded[t] = max(space(0, t), loaded[t - 1] if t else 0) + transfer
            for s, values in enumerate(plan.sources):
                bounds = [
                    arrival(value, t) + hops(configuration, 0, pb.Net.READ, s, port)
                    for port, value in enumerate(values)
                ]
                bounds += [space(s + 1, t), start[s][t - 1] + interval[s] if t else 0]
                start[s][t] = max(bounds)
            for value, times in saved.items():
                times[t] = max(arrival(value, t) + store_hop[value], times[t - 1] if t else 0) + transfer
        if before == (start, loaded, saved):
            break
    ends = [arrival(s + 1, tiles - 1) for s in range(len(stages))]
    return start, max(ends + [times[-1] for times in saved.values()])


@given(plans())
@settings(max_examples=80, deadline=None)
def test_random_pipelines(plan: Plan) -> None:
    if 0 in stored(plan):
        return
    configuration = build(plan)
    execution = execution_of(configuration)
    starts, end = oracle(plan, configuration, execution)
    assert [list(stage.starts) for stage in stage_reports(execution)] == [pytest.approx(times) for times in starts]
    assert execution.cycles == pytest.approx(end)


@given(plans())
@settings(max_examples=40, deadline=None)
def test_accounts_add_up(plan: Plan) -> None:
    execution = execution_of(build(plan))
    assert sum(execution.path.values()) == pytest.approx(execution.cycles)
    for phase in execution.phases:
        for stage in phase.stages:
            assert stage.time.total == pytest.approx(phase.end - phase.start)
            assert stage.time.busy == stage.events * stage.interval_cycles
            assert min(stage.time.input, stage.time.output, stage.time.dram, stage.time.fill, stage.time.drain) >= 0
    assert 0 < execution.pcu.utilisation <= execution.pcu.allocated_utilisation <= 1
    assert 0 < execution.pmu.utilisation <= execution.pmu.allocated_utilisation <= 1


@given(plans())
@settings(max_examples=20, deadline=None)
def test_deeper_rings_never_hurt(plan: Plan) -> None:
    deeper = replace(plan, depths=tuple(depth + 1 for depth in plan.depths))
    assert execution_of(build(deeper)).cycles <= execution_of(build(plan)).cycles + 1e-6
