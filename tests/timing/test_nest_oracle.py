"""Random nests against an independent recurrence, solved by plain iteration from nothing.

Loop i cuts axis i of whatever it cuts. The oracle follows the definition in `pef.nest` event by event, walks routes
itself for hops, takes intervals and fill as given (checked elsewhere), and raises every time until nothing moves. What
moves for ever, or cannot begin, must be what the checker refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.check import check
from pef.cycles import fill_cycles
from pef.decoded import Access, Configuration
from pef.nest import NEVER, WHOLE, Load, Nest, Writer, freed_by, least_depth, level_of, needed
from runtime.timing import Execution, simulate
from tests.pef.nests import pef_of_nest
from tests.pef.samples import ConfigurationBuilder
from tests.timing.build import FREE_MEMORY, bf16, hops, op, stage_reports


@dataclass(frozen=True)
class Step:
    """A stage: what it reads (0 is the input), the loops that cut it, the loop it sums over or None, its PCUs."""

    sources: tuple[int, ...]
    loops: frozenset[int]
    summed: int | None
    parallel: int


@dataclass(frozen=True)
class Plan:
    """Loops, how the input is loaded, the stages, and for each value how many units more than the fewest it holds."""

    counts: tuple[int, ...]
    loaded: frozenset[int]
    resident: bool
    steps: tuple[Step, ...]
    extra: tuple[int, ...]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """One to six stages in two or three loops, where some value may be read beside its sum; loop 0 cuts every stage."""
    counts = tuple(draw(st.lists(st.integers(2, 3), min_size=2, max_size=3)))
    inner = range(1, len(counts))
    some = st.sets(st.sampled_from(list(inner)))
    steps = []
    whole: dict[int, frozenset[int]] = {0: frozenset()}
    for number in range(draw(st.integers(1, 4))):
        sources = tuple(sorted(draw(st.sets(st.integers(0, number), min_size=1, max_size=2))))
        gone = frozenset.intersection(*(whole[source] for source in sources))
        loops = frozenset(draw(some)) - gone | {0}
        over = draw(st.sampled_from([None, *sorted(loops - {0})])) if len(sources) == 1 else None
        steps.append(Step(sources, loops, over, draw(st.integers(1, 2))))
        whole[number + 1] = gone | ({over} if over is not None else frozenset())
    if draw(st.booleans()):
        number = len(steps)
        value = draw(st.sampled_from([value for value in range(number + 1) if 1 not in whole[value]] or [0]))
        if 1 not in whole[value]:
            steps.append(Step((value,), frozenset({0, 1}), 1, 1))
            steps.append(Step((value, number + 1), frozenset({0, 1}), None, 1))
    loaded = frozenset(draw(some)) | draw(st.sampled_from([frozenset({0}), frozenset()]))
    extra = tuple(draw(st.integers(0, 2)) for _ in range(len(steps) + 1))
    return Plan(counts, loaded, draw(st.booleans()), tuple(steps), extra)


def axes(loops: frozenset[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The slicing by these loops of what has more than one element along each."""
    last = max(loops, default=-1)
    return tuple(loop if loop in loops and shape[loop] > 1 else WHOLE for loop in range(last + 1))


def build(plan: Plan) -> pb.Configuration:
    """The plan as a configuration; every stream has an AGCU to itself."""
    b = ConfigurationBuilder(FREE_MEMORY)
    nest = Nest(plan.counts)
    full = (*(count * 4 for count in plan.counts[:-1]), plan.counts[-1] * 16)
    shapes = [full]
    for step in plan.steps:
        shape = tuple(max(shapes[source][axis] for source in step.sources) for axis in range(len(full)))
        shapes.append(tuple(1 if axis == step.summed else extent for axis, extent in enumerate(shape)))
    cuts = [axes(plan.loaded, full)]
    for step, shape in zip(plan.steps, shapes[1:]):
        cuts.append(axes(step.loops - {step.summed}, shape))
    slices = [nest.slices(cut) for cut in cuts]
    depths = [slices[0] if plan.resident else min(slices[0], 1 + plan.extra[0])]
    for step, cut, count, extra in zip(plan.steps, cuts[1:], slices[1:], plan.extra[1:]):
        level = max(level_of(axes(step.loops, shapes[source])) for source in step.sources)
        unit = Writer(nest, cut, max(level, level_of(cut))).unit_slices
        depths.append(min(count, unit * (1 + extra)))
    buffers = [
        b.buffer(f"v{number}", bf16(*shape), cut, plan.counts, depth)
        for number, (shape, cut, depth) in enumerate(zip(shapes, cuts, depths))
    ]
    b.phase(*plan.counts)
    for number, step in enumerate(plan.steps):
        stage = b.stage(f"s{number}")
        operands = [stage.read(buffers[source], axes(step.loops, shapes[source])) for source in step.sources]
        target, cut = buffers[number + 1], cuts[number + 1]
        if step.summed is not None:
            operator, how = op("sum", dims=(step.summed,), keepdim=True), "sum"
        else:
            operator, how = op("exp" if len(operands) == 1 else "add"), ""
        seen = axes(step.loops, shapes[number + 1]) if step.summed is None else cut
        stage.write(stage.apply(operator, *operands, axis=seen), target, how)
        stage.place(step.parallel)
    b.load(b.slot(bf16(*full)), buffers[0], cuts[0], agcus=(0,))
    read = {source for step in plan.steps for source in step.sources}
    for number in range(1, len(buffers)):
        if number not in read:
            whole = depths[number] == slices[number] and plan.extra[number] == 2
            b.store(b.slot(bf16(*shapes[number])), buffers[number], () if whole else cuts[number], agcus=(number,))
    configuration = Configuration.of(b.record, FREE_MEMORY, "configuration 0")
    for number, buffer in enumerate(b.record.buffers):
        writer = configuration.writer(configuration.writers[number][0])
        blocks = [least_depth(writer, configuration.reader(read)) for read in configuration.readers[number]]
        if plan.extra[number]:
            buffer.depth = max(buffer.depth, *blocks)
    return b.build()


@dataclass
class Wait:
    """Event e of `holder` begins no earlier than the end of event `events[e]` of `source`, and `offset` cycles."""

    holder: tuple[str, int]
    source: tuple[str, int]
    events: list[int]
    offset: int


def oracle(record: pb.Configuration, execution: Execution) -> tuple[dict[tuple[str, int], list[float]], float]:
    """Begins of stages and ends of transfers, and the end of the section."""
    configuration = Configuration.of(record, FREE_MEMORY, "configuration 0")
    (phase,) = configuration.phases
    takes: dict[tuple[str, int], float] = {}
    times: dict[tuple[str, int], list[float]] = {}
    late: dict[tuple[str, int], int] = {}
    for number, (stage, report) in enumerate(zip(phase.stages, stage_reports(execution))):
        takes["stage", number] = report.interval_cycles
        late["stage", number] = report.interval_cycles + fill_cycles(stage.work, stage.parallelism, FREE_MEMORY)
        times["stage", number] = [0.0] * report.events
    for number, stream in enumerate(phase.streams):
        slot = phase.nest.sliced(configuration.slots[stream.slot], stream.slicing)
        count = phase.nest.slices(stream.slicing)
        if not stream.store and configuration.buffers[stream.buffer].is_ring:
            count = phase.nest.events(level_of(stream.slicing))
        takes["stream", number] = -(-slot.nbytes // 64)
        late["stream", number] = 0
        times["stream", number] = [0.0] * count
    waits = list(all_waits(configuration, record, takes, late))
    for _ in range(10_000):
        before = {key: list(values) for key, values in times.items()}
        for key, values in times.items():
            for event in range(len(values)):
                begin = max(
                    [0.0, *(times[w.source][w.events[event]] + w.offset for w in waits if holds(w, key, event))]
                )
                if key[0] == "stage":
                    own = values[event - 1] + takes[key] if event else 0.0
                    values[event] = max(begin, own)
                else:
                    values[event] = max(begin, values[event - 1] if event else 0.0) + takes[key]
        if before == times:
            break
    else:
        raise AssertionError("the times rise for ever")
    ends = [values[-1] for key, values in times.items() if key[0] == "stream"]
    for number in range(len(phase.stages)):
        written = max(hop(record, write) for write in configuration.writes if write.actor == ("stage", number))
        ends.append(times["stage", number][-1] + late["stage", number] + written)
    return times, max(ends)


def holds(wait: Wait, key: tuple[str, int], event: int) -> bool:
    """Whether the wait concerns an event."""
    return wait.holder == key and wait.events[event] != NEVER


def hop(record: pb.Configuration, access: Access) -> int:
    """Hops of the nets of a port or stream, by its name."""
    kind, number = access.actor
    words = access.where.split(", ")[-1].split()
    if kind == "stream":
        return hops(record, 0, pb.Net.LOAD if words[0] == "load" else pb.Net.STORE, number)
    return hops(record, 0, pb.Net.READ if words[0] == "input" else pb.Net.WRITE, number, int(words[1]))


def all_waits(
    configuration: Configuration,
    record: pb.Configuration,
    takes: dict[tuple[str, int], float],
    late: dict[tuple[str, int], int],
) -> list[Wait]:
    """Every wait for data and for a place, from the definition."""
    waits = []
    for read in configuration.reads:
        (write,) = configuration.writers[read.buffer]
        writer, reader = configuration.writer(write), configuration.reader(read)
        offset = late[write.actor] + hop(record, write) + hop(record, read)
        wanted = [needed(writer, reader, event) for event in range(reader.events)]
        waits.append(Wait(read.actor, write.actor, wanted, offset))
        depth = configuration.buffers[read.buffer].depth
        freed = [freed_by(writer, reader, depth, event) for event in range(writer.events)]
        release = int(takes[read.actor]) if read.actor[0] == "stage" else 0
        waits.append(Wait(write.actor, read.actor, freed, release))
    return waits


def legal(record: pb.Configuration) -> list[str]:
    """What the checker finds."""
    try:
        check(pef_of_nest(record))
    except IllegalPefError as error:
        return [str(problem) for problem in error.problems]
    return []


def simulated(record: pb.Configuration) -> Execution | None:
    """The execution, or None where it stands still."""
    try:
        return simulate(pef_of_nest(record)).sections[0].execution
    except IllegalPefError as error:
        assert "deadlocks" in str(error)
        return None


@given(plans())
@settings(max_examples=80, deadline=None)
def test_random_nests(plan: Plan) -> None:
    record = build(plan)
    assume(not legal(record))
    execution = simulated(record)
    assert execution is not None
    times, end = oracle(record, execution)
    starts = [times["stage", number] for number in range(len(plan.steps))]
    assert [list(stage.starts) for stage in stage_reports(execution)] == [pytest.approx(s) for s in starts]
    assert execution.cycles == pytest.approx(end)
    assert sum(execution.path.values()) == pytest.approx(execution.cycles)
    for phase in execution.phases:
        for stage in phase.stages:
            assert stage.time.total == pytest.approx(phase.end - phase.start)
            waits = (stage.time.input, stage.time.output, stage.time.dram, stage.time.fill, stage.time.drain)
            assert min(waits) >= -1e-6


ONLY_DEPTH = ("would stop for ever", "the ring holds")


@given(plans())
@settings(max_examples=80, deadline=None)
def test_the_checker_refuses_the_depths_at_which_a_nest_stands_still(plan: Plan) -> None:
    """Where nothing but a depth is wrong, and only there."""
    record = build(plan)
    found = legal(record)
    assume(all(any(text in problem for text in ONLY_DEPTH) for problem in found))
    assume(all("complete at one time" not in problem for problem in found))
    assert (simulated(record) is None) == bool(found)


@given(plans())
@settings(max_examples=40, deadline=None)
def test_deeper_rings_never_hurt(plan: Plan) -> None:
    record, deeper = build(plan), build(replace(plan, extra=(*(extra + 1 for extra in plan.extra[:-1]), 0)))
    assume(not legal(record) and not legal(deeper))
    assume(all(stream.axes for stream in (*record.phases[0].streams, *deeper.phases[0].streams)))
    before, after = simulated(build(replace(plan, extra=(*plan.extra[:-1], 0)))), simulated(deeper)
    if before is not None and after is not None:
        assert after.cycles <= before.cycles + 1e-6


def test_most_plans_are_legal_or_short_of_depth() -> None:
    """The generator makes what the tests above need: nests that run, nests that stand still, re-streamed loads."""
    seen = {"runs": 0, "stands": 0, "short": 0, "again": 0}

    @given(plans())
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    def look(plan: Plan) -> None:
        record = build(plan)
        found = legal(record)
        configuration = Configuration.of(record, FREE_MEMORY, "configuration 0")
        writers = [configuration.writer(write) for write in configuration.writes]
        seen["runs"] += not found
        seen["stands"] += any("would stop for ever" in problem for problem in found)
        seen["short"] += any("the ring holds" in problem for problem in found)
        seen["again"] += not found and any(isinstance(w, Load) and w.events > w.nest.slices(w.slicing) for w in writers)

    look()
    assert seen["runs"] > 60 and seen["stands"] > 1 and seen["short"] > 5 and seen["again"] > 1, seen
