"""What a phase will cost, before any unit is chosen: work, memory traffic, units, and how long it takes to fill.

Time is counted in shares of the phase: a stage starts when its operands have been made for the first time, and that
is a share of 1/E later where it keeps step with their writer in loops of E iterations. The longest path of such lags is
what filling and draining add to the phase; differences of starts are what buffers must hold.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backends.rdu.stream.nests import NestedStage, Phase, reader_of, writer_of
from backends.rdu.stream.spread import Option, options
from ir.graph import Value
from ir.types import TensorType
from pef.cycles import chain_length, operand_bytes
from pef.machine import Machine, SiteKind
from pef.nest import WHOLE, Reader, Slicing, Writer, axis_of, level_of, sync_level

PCU_SHARE = 0.96
"""The part of the PCUs that stages may take: placement needs some room."""

PACE_STEP = 1.04
"""Successive paces that are tried, as a ratio."""

KEEP_SHARE = 0.1
"""The part of all PMUs that a load may keep for a later phase."""

MOST_PACES = 24
"""Paces that are tried: beyond, the stages need more PCUs than there are whatever the pace."""

ROUNDING = 1e-9
"""Shares of a phase are sums of fractions: what differs by less is the same moment."""


@dataclass(frozen=True)
class Load:
    """A value that a phase loads, cut as `slicing`: resident for the phase, or streamed through a ring."""

    value: Value
    slicing: Slicing
    resident: bool
    times: int
    """How often all of it is transferred: a ring that outer loops do not cut is filled again for each of theirs."""
    fetched_bytes: int = 0
    """What memory moves for it once, where it is fetched by index."""

    @property
    def bytes(self) -> int:
        """Bytes moved in all."""
        return (self.fetched_bytes or self.value.type.nbytes) * self.times

    def covers(self, slicing: Slicing) -> bool:
        """Whether what a reader with this slicing wants at a time lies within one of its slices."""
        if self.slicing == slicing:
            return True
        return self.times == 1 and self.slicing == slicing[: len(self.slicing)]


@dataclass(frozen=True)
class PhaseCost:
    """Costs of a phase: `work` in PCU-cycles; `floor` the cycles it takes with all the PCUs it can use; `pcus` the
    fewest; `ring_pmus` for buffers that live in the phase only, with the ports that keep its pace, and `least_pmus` for
    their bytes alone; `resident` bytes of loads that stay for the phase; `fill` the share that filling and draining
    add."""

    work: float
    floor: float
    pcus: int
    ring_pmus: int
    least_pmus: int
    resident: Mapping[str, int]
    streamed: Mapping[str, int]
    fill: float

    @property
    def loaded_bytes(self) -> int:
        """Bytes read from memory, were everything loaded that is not made in the phase."""
        return sum(self.resident.values()) + sum(self.streamed.values())


def made_by(stages: Sequence[NestedStage]) -> dict[str, tuple[int, Value]]:
    """For everything the stages write, who does."""
    return {value.name: (index, value) for index, stage in enumerate(stages) for value in stage.stage.writes}


def starts(phase: Phase) -> list[float]:
    """When each stage starts, as a share of the phase's time, if all fire at a steady pace. What fires once although
    others stream is small, and takes no time."""
    makers = made_by(phase.stages)
    found: list[float] = []
    for stage in phase.stages:
        start = 0.0
        for value in stage.stage.reads:
            if value.name in makers and makers[value.name][0] < len(found):
                index, _ = makers[value.name]
                if phase.tiles > 1 and phase.stages[index].level == 0:
                    continue
                writer = writer_of(phase, phase.stages[index], value)
                level = sync_level(writer, reader_of(phase, stage, value))
                start = max(start, found[index] + 1 / phase.nest.events(level))
        found.append(start)
    return found


def ring_depth(writer: Writer, readers: Sequence[tuple[Reader, float]], slack: int = 0) -> int:
    """Slices that a buffer holds so that writer and readers can keep the phase's pace; each reader with the share of
    the phase by which it starts later.

    All keep a steady schedule: a unit's place is taken when the writer begins it, and free when the reader has finished
    the block it belongs to, `lag` blocks later. A schedule that fits its rings is proof that nobody waits for ever.
    `slack` are units for what the schedule does not see, such as the way through the network.
    """
    whole = writer.nest.slices(writer.slicing)
    units = writer.nest.events(writer.completion)
    most = 1
    for reader, lag in readers:
        blocks = writer.nest.events(sync_level(writer, reader))
        size = units // blocks
        behind = lag * blocks
        held = max(
            place + 1 + size * math.ceil(behind - place / size - ROUNDING) for place in _turning_points(size, behind)
        )
        most = max(most, held + slack)
    return min(whole, most * writer.unit_slices)


def _turning_points(size: int, behind: float) -> set[int]:
    """The units of a block at which the most may be held: the last, and the last before an older block is free."""
    turn = math.ceil((behind - math.floor(behind)) * size) - 1
    return {size - 1, min(size - 1, max(0, turn)), min(size - 1, max(0, turn + 1))}


def loads_of(phase: Phase, resident_bytes: int, made: Container[str] = ()) -> list[Load]:
    """What a phase reads that neither it nor an earlier phase has `made`: once for each way in which its stages cut it.

    What some inner loop cuts, but a loop outside of that does not, stays resident if it is no larger than
    `resident_bytes`; else it is streamed again in every iteration of the outer loop. What is fetched by index always
    stays in that case, and where slices of it would be shorter than bursts of memory; and so does the index.
    """
    own = made_by(phase.stages)
    found: dict[tuple[str, Slicing], Load] = {}
    seen: set[tuple[str, Slicing]] = set()
    for stage in phase.stages:
        fetched = {gather.value.name: gather for gather in stage.stage.gathers}
        for value in stage.stage.reads:
            if value.name in own or value.name in made:
                continue
            gather = fetched.get(value.name)
            if gather is not None and gather.index.name not in made:
                found.setdefault((gather.index.name, ()), Load(gather.index, (), True, 1))
            slicing = stage.slicing(value)
            slicing = slicing[: level_of(slicing)]
            if (value.name, slicing) in seen:
                continue
            seen.add((value.name, slicing))
            level = len(slicing)
            repeated = [loop for loop in range(level) if axis_of(slicing, loop) == WHOLE]
            small = value.type.nbytes <= resident_bytes
            resident = level == 0 or (bool(repeated) and (small or gather is not None))
            if gather is not None and small and not resident:
                resident = gather.moved_bytes(phase.nest, slicing) > gather.moved_bytes(phase.nest, ())
            times = 1 if resident else math.prod(phase.nest.counts[loop] for loop in repeated)
            cut = () if resident else slicing
            fetched_bytes = gather.moved_bytes(phase.nest, cut) if gather is not None else 0
            load = Load(value, cut, resident, times, fetched_bytes)
            found.setdefault((value.name, load.slicing), load)
    ways: dict[str, list[Load]] = {}
    for load in found.values():
        ways.setdefault(load.value.name, []).append(load)
    return [
        load
        for load in found.values()
        if len(ways[load.value.name]) == 1 or serving(ways[load.value.name], load.value, load.slicing) is load
    ]


def serving(loads: Iterable[Load], value: Value, slicing: Slicing) -> Load | None:
    """The load from which a reader that cuts a value so gets it: one of larger slices, if there is one, rather than one
    of its own, so that nothing is loaded twice."""
    serving = [load for load in loads if load.value.name == value.name and load.covers(slicing)]
    return min(serving, key=lambda load: len(load.slicing), default=None)


def may_be_kept(load: Load, machine: Machine) -> bool:
    """Whether a streamed load is small enough to stay where a later phase reads the value again, instead of being
    loaded twice."""
    memory = len(machine.working_sites(SiteKind.PMU)) * machine.pmu_bytes
    return not load.resident and load.times == 1 and load.value.type.nbytes <= KEEP_SHARE * memory


def kept_loads(phases: Sequence[Phase], index: int, made: Container[str], machine: Machine, most: int) -> set[str]:
    """What one of a section's phases loads and a later one reads from where it stays."""
    later = {value.name for phase in phases[index + 1 :] for stage in phase.stages for value in stage.stage.reads}
    loads = loads_of(phases[index], most, made)
    return {load.value.name for load in loads if load.value.name in later and may_be_kept(load, machine)}


def estimate(phase: Phase, machine: Machine, resident_bytes: int) -> PhaseCost:
    """What the phase costs if it loads all that it reads and does not make."""
    begun = starts(phase)
    work = floor = 0.0
    pcus = 0
    spreads = [options(stage.form.work, machine) for stage in phase.stages]
    for stage, table in zip(phase.stages, spreads):
        events = phase.events(stage)
        work += events * table[0].cycles * table[0].units
        floor = max(floor, events * table[-1].cycles)
        pcus += chain_length(stage.work, machine)
    work = _dealt_work(phase, spreads, work, machine)
    loads = loads_of(phase, resident_bytes)
    resident: dict[str, int] = {}
    streamed: dict[str, int] = {}
    for load in loads:
        kind = resident if load.resident else streamed
        kind[load.value.name] = kind.get(load.value.name, 0) + load.bytes
    moved = sum(streamed.values()) / machine.tier_bytes_per_cycle(0)
    pace = max(work / len(machine.working_sites(SiteKind.PCU)), floor, moved)
    ports = _port_pmus(phase, spreads, pace, machine)
    rings = least = 0
    for load in loads:
        held = 0 if load.resident else _pmus(_load_ring_bytes(phase, load), machine)
        kept = _pmus(load.value.type.nbytes, machine) if load.resident else 0
        rings += max(held, ports.get(load.value.name, 0) - kept)
        least += held
    for name, nbytes in written_bytes(phase, begun):
        rings += max(_pmus(nbytes, machine), ports.get(name, 0))
        least += _pmus(nbytes, machine)
    return PhaseCost(work, floor, pcus, rings, least, resident, streamed, max(begun, default=0.0))


Spread = Sequence[Option]
"""The ways to spread a stage, narrowest first."""


def _dealt_work(phase: Phase, spreads: Sequence[Spread], work: float, machine: Machine) -> float:
    """The work of a phase in PCU-cycles with what is lost because stages spread in whole blocks only: that of the
    fastest pace at which all stages together find PCUs on the whole machine."""
    pcus = len(machine.working_sites(SiteKind.PCU))
    pace = work / pcus
    events = [phase.events(stage) for stage in phase.stages]
    for _ in range(MOST_PACES):
        units = sum(_option_for(table, pace / count).units for table, count in zip(spreads, events))
        if units <= PCU_SHARE * pcus:
            break
        pace *= PACE_STEP
    return pace * pcus * PCU_SHARE


def _port_pmus(phase: Phase, spreads: Sequence[Spread], pace: float, machine: Machine) -> dict[str, int]:
    """PMUs whose ports every value's readers and writer need, if the phase takes `pace` cycles: a PMU has two ports to
    read from, of which each reader uses one."""
    sent: dict[str, float] = {}
    total: dict[str, float] = {}
    written: dict[str, float] = {}
    for stage, table in zip(phase.stages, spreads):
        events = phase.events(stage)
        parallel = _option_for(table, pace / events).parallel
        for number in stage.form.reads:
            side = stage.form.sides.get(number)
            nbytes = events * operand_bytes(stage.work, parallel, machine, stage.form.types[number], side)
            name = stage.names[number]
            sent[name] = max(sent.get(name, 0.0), nbytes)
            total[name] = total.get(name, 0.0) + nbytes
        for number in stage.form.writes:
            written[stage.names[number]] = events * stage.form.types[number].nbytes
    width = pace * machine.pmu_port_bytes_per_cycle
    found = {}
    for name in {**total, **written}:
        busiest = max(sent.get(name, 0.0), total.get(name, 0.0) / machine.pmu_read_ports, written.get(name, 0.0))
        found[name] = math.ceil(busiest / width)
    return found


def _option_for(table: Spread, cycles: float) -> Option:
    """The narrowest way to spread a stage that takes no more than `cycles` for a firing, or the widest."""
    index = bisect.bisect_left(table, -cycles, key=lambda option: -option.cycles)
    return table[min(index, len(table) - 1)]


def written_bytes(phase: Phase, begun: Sequence[float]) -> list[tuple[str, int]]:
    """Everything the phase writes, with the bytes of the buffer behind it, as far as the phase itself needs them."""
    readers: dict[str, list[tuple[int, Value]]] = {}
    for index, stage in enumerate(phase.stages):
        for value in stage.stage.reads:
            readers.setdefault(value.name, []).append((index, value))
    found = []
    bytes_stored: dict[tuple[TensorType, Writer], int] = {}  # many alike where a model returns what its layers make
    for index, stage in enumerate(phase.stages):
        for value in stage.stage.writes:
            writer = writer_of(phase, stage, value)
            using = [
                (reader_of(phase, phase.stages[at], value), begun[at] - begun[index])
                for at, _ in readers.get(value.name, ())
                if at > index
            ]
            nbytes = None if using else bytes_stored.get((value.type, writer))
            if nbytes is None:
                depth = ring_depth(writer, using or [stored(writer)])
                nbytes = depth * phase.nest.sliced(value.type, writer.slicing).nbytes
            if not using:
                bytes_stored[value.type, writer] = nbytes
            found.append((value.name, nbytes))
    return found


def stored(writer: Writer) -> tuple[Reader, float]:
    """A store that takes away each unit as it is complete, and how much later it starts."""
    level = writer.completion
    return Reader(writer.nest, writer.slicing[:level], level), 1 / writer.nest.events(level)


def _load_ring_bytes(phase: Phase, load: Load) -> int:
    return min(2, phase.nest.slices(load.slicing)) * phase.nest.sliced(load.value.type, load.slicing).nbytes


def _pmus(nbytes: int, machine: Machine) -> int:
    return max(1, math.ceil(nbytes / machine.pmu_bytes))
