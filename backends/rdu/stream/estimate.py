"""What a phase will cost, before any unit is chosen: work, memory traffic, units, and how long it takes to fill.

Time is counted in shares of the phase: a stage starts when its operands have been made for the first time, and that
is a share of 1/E later where it keeps step with their writer in loops of E iterations. The longest path of such lags is
what filling and draining add to the phase; differences of starts are what buffers must hold.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backends.rdu.fuse.indexed import Gather
from backends.rdu.stream.nests import NestedStage, Phase
from backends.rdu.stream.spread import Spread, spread_of
from ir.graph import Value
from pef.machine import Machine, SiteKind
from pef.nest import WHOLE, Nest, Reader, Slicing, Writer, level_of, sync_level

PCU_SHARE = 0.96
"""The part of the PCUs that stages may take: placement needs some room."""

PACE_STEP = 1.04
"""Successive paces that are tried, as a ratio."""

KEEP_SHARE = 0.3
"""The part of all PMUs that a load may keep for a later phase."""

MOST_PACES = 24
"""Paces that are tried: beyond, the stages need more PCUs than there are whatever the pace."""

PACES = tuple(PACE_STEP**step for step in range(MOST_PACES + 1))

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


class Starts:
    """When each stage of a phase starts, as a share of the phase's time, if all fire at a steady pace; stage by stage,
    in their order. What fires once although others stream is small, and takes no time."""

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.tiles = nest.events(len(nest.counts))
        self.begun: list[float] = []
        self._made: dict[str, tuple[Writer, float]] = {}

    def add(self, stage: NestedStage) -> float:
        """The start of the next stage."""
        start = 0.0
        reads = stage.form.reads
        for value, number in zip(stage.stage.reads, reads):
            made = self._made.get(value.name)
            if made is not None:
                reader = Reader(self.nest, stage.slicings[number], stage.level)
                start = max(start, made[1] + 1 / self.nest.events(sync_level(made[0], reader)))
        if stage.level or self.tiles == 1:
            for value, number in zip(stage.stage.writes, stage.form.writes):
                self._made[value.name] = Writer(self.nest, stage.slicings[number], stage.level), start
        self.begun.append(start)
        return start


def starts(phase: Phase) -> list[float]:
    """When each stage starts, as a share of the phase's time."""
    found = Starts(phase.nest)
    return [found.add(stage) for stage in phase.stages]


def ring_depth(writer: Writer, readers: Sequence[tuple[Reader, float]], slack: int = 0) -> int:
    """Slices that a buffer holds so that writer and readers can keep the phase's pace; each reader with the share of
    the phase by which it starts later.

    All keep a steady schedule: a unit's place is taken when the writer begins it, and free when the reader has finished
    the block it belongs to, `lag` blocks later. A schedule that fits its rings is proof that nobody waits for ever.
    `slack` are units for what the schedule does not see, such as the way through the network.
    """
    most = max((units_held(writer, reader, lag) + slack for reader, lag in readers), default=1)
    return depth_of(writer, most)


def units_held(writer: Writer, reader: Reader, lag: float) -> int:
    """Units that a buffer must hold for one reader that starts later by this share of the phase."""
    blocks = writer.nest.events(sync_level(writer, reader))
    size = writer.nest.events(writer.completion) // blocks
    behind = lag * blocks
    return max(
        place + 1 + size * math.ceil(behind - place / size - ROUNDING) for place in _turning_points(size, behind)
    )


def depth_of(writer: Writer, units: int) -> int:
    """Slices of a buffer that holds so many units."""
    return min(writer.nest.slices(writer.slicing), max(1, units) * writer.unit_slices)


def _turning_points(size: int, behind: float) -> set[int]:
    """The units of a block at which the most may be held: the last, and the last before an older block is free."""
    turn = math.ceil((behind - math.floor(behind)) * size) - 1
    return {size - 1, min(size - 1, max(0, turn)), min(size - 1, max(0, turn + 1))}


class Loads:
    """What the stages of a phase read that neither it nor an earlier phase has `made`: once for each way in which they
    cut it; stage by stage, in their order.

    What some inner loop cuts, but a loop outside of that does not, stays resident if it is no larger than
    `resident_bytes`; else it is streamed again in every iteration of the outer loop. What is fetched by index always
    stays in that case, and where slices of it would be shorter than bursts of memory; and so does the index.
    """

    def __init__(self, nest: Nest, resident_bytes: int, made: Container[str] = ()) -> None:
        self.nest = nest
        self.resident_bytes = resident_bytes
        self.made = made
        self._own: set[str] = set()
        self._found: dict[tuple[str, Slicing], Load] = {}
        self._seen: set[tuple[str, Slicing]] = set()
        self._ways: dict[str, list[Load]] = {}

    def add(self, stage: NestedStage) -> None:
        """Go on with the next stage."""
        fetched = {gather.value.name: gather for gather in stage.stage.gathers}
        self._own.update(value.name for value in stage.stage.writes)
        for value, number in zip(stage.stage.reads, stage.form.reads):
            name = value.name
            if name in self._own or name in self.made:
                continue
            slicing = stage.slicings[number]
            slicing = slicing[: level_of(slicing)]
            gather = fetched.get(name)
            if gather is not None and gather.index.name not in self.made:
                self._keep(Load(gather.index, (), True, 1))
            if (name, slicing) not in self._seen:
                self._seen.add((name, slicing))
                self._keep(self._load(value, slicing, gather))

    def _keep(self, load: Load) -> None:
        key = load.value.name, load.slicing
        if key not in self._found:
            self._found[key] = load
            self._ways.setdefault(load.value.name, []).append(load)

    def _load(self, value: Value, slicing: Slicing, gather: Gather | None) -> Load:
        level = len(slicing)
        repeated = [loop for loop in range(level) if slicing[loop] == WHOLE]
        small = value.type.nbytes <= self.resident_bytes
        resident = level == 0 or (bool(repeated) and (small or gather is not None))
        if gather is not None and small and not resident:
            resident = gather.moved_bytes(self.nest, slicing) > gather.moved_bytes(self.nest, ())
        times = 1 if resident else math.prod(self.nest.counts[loop] for loop in repeated)
        cut = () if resident else slicing
        fetched_bytes = gather.moved_bytes(self.nest, cut) if gather is not None else 0
        return Load(value, cut, resident, times, fetched_bytes)

    def all(self) -> list[Load]:
        """The loads so far."""
        ways = self._ways
        if len(ways) == len(self._found):
            return list(self._found.values())
        return [
            load
            for load in self._found.values()
            if len(ways[load.value.name]) == 1 or serving(ways[load.value.name], load.value, load.slicing) is load
        ]


def loads_of(phase: Phase, resident_bytes: int, made: Container[str] = ()) -> list[Load]:
    """What a phase loads; `made` comes from earlier phases."""
    loads = Loads(phase.nest, resident_bytes, made)
    for stage in phase.stages:
        loads.add(stage)
    return loads.all()


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


@dataclass
class _Ring:
    """What a stage of a phase writes: from when on, and the bytes of the buffer behind it as far as the phase itself
    needs them; of its readers so far, the one that needs the most units."""

    writer: Writer
    slice_bytes: int
    begun: float
    units: int = 0

    def read(self, reader: Reader, begun: float) -> bool:
        """One more reader; whether it needs more units, or is the first."""
        units = max(1, units_held(self.writer, reader, begun - self.begun))
        more, self.units = units > self.units, max(units, self.units)
        return more

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return depth_of(self.writer, self.units) * self.slice_bytes


class Estimate:
    """What a phase costs if it loads all that it reads and does not make: stage by stage, in their order."""

    def __init__(self, nest: Nest, machine: Machine, resident_bytes: int) -> None:
        self.nest = nest
        self.machine = machine
        self.pcus = len(machine.working_sites(SiteKind.PCU))
        self.largest_slice = 0
        """Bytes of the largest slice that a stage reads or writes."""
        self._starts = Starts(nest)
        self._loads = Loads(nest, resident_bytes)
        self._rings: dict[str, _Ring] = {}
        self._ring_pmus: dict[str, int] = {}
        self._stored_depths: dict[tuple[Slicing, int], int] = {}
        self._load_pmus: dict[tuple[str, Slicing], tuple[int, int]] = {}
        self._members: list[tuple[NestedStage, Spread, int]] = []
        self._kinds: dict[tuple[Spread, int], int] = {}
        self._work = self._floor = self._fill = 0.0
        self._chains = 0

    @property
    def stages(self) -> int:
        """Stages so far."""
        return len(self._members)

    def add(self, stage: NestedStage) -> None:
        """Go on with the next stage."""
        start = self._starts.add(stage)
        self._fill = max(self._fill, start)
        self._loads.add(stage)
        form, level = stage.form, stage.level
        events, spread = self.nest.events(level), spread_of(form, self.machine)
        self._members.append((stage, spread, events))
        self._kinds[spread, events] = self._kinds.get((spread, events), 0) + 1
        narrow, wide = spread.options[0], spread.options[-1]
        self._work += events * narrow.cycles * narrow.units
        self._floor = max(self._floor, events * wide.cycles)
        self._chains += spread.chain
        for value, number in zip(stage.stage.reads, form.reads):
            self.largest_slice = max(self.largest_slice, form.types[number].nbytes)
            ring = self._rings.get(value.name)
            if ring is not None and ring.read(Reader(self.nest, stage.slicings[number], level), start):
                self._ring_pmus[value.name] = _pmus(ring.nbytes, self.machine)
        for value, number in zip(stage.stage.writes, form.writes):
            nbytes = form.types[number].nbytes
            self.largest_slice = max(self.largest_slice, nbytes)
            writer = Writer(self.nest, stage.slicings[number], level)
            self._rings[value.name] = _Ring(writer, nbytes, start)
            self._ring_pmus[value.name] = _pmus(self._stored_depth(writer) * nbytes, self.machine)

    def _stored_depth(self, writer: Writer) -> int:
        """Slices of a buffer that nothing but a store reads."""
        key = writer.slicing, writer.level
        if key not in self._stored_depths:
            self._stored_depths[key] = ring_depth(writer, [stored(writer)])
        return self._stored_depths[key]

    def draft(self) -> Draft:
        """What the stages so far cost."""
        work = self._dealt_work()
        loads = tuple(self._loads.all())
        resident: dict[str, int] = {}
        streamed: dict[str, int] = {}
        for load in loads:
            kind = resident if load.resident else streamed
            kind[load.value.name] = kind.get(load.value.name, 0) + load.bytes
        loaded = [(load.value.name, *self._pmus_of(load)) for load in loads]
        least = sum(self._ring_pmus.values()) + sum(held for _, held, _ in loaded)
        cost = PhaseCost(work, self._floor, self._chains, least, least, resident, streamed, self._fill)
        return Draft(cost, self, self.stages, tuple(self._ring_pmus.items()), tuple(loaded))

    def _pmus_of(self, load: Load) -> tuple[int, int]:
        """The PMUs of a load's ring, and those of a load that stays."""
        key = load.value.name, load.slicing
        if key not in self._load_pmus:
            if load.resident:
                self._load_pmus[key] = 0, _pmus(load.value.type.nbytes, self.machine)
            else:
                slices, part = self.nest.slices(load.slicing), self.nest.sliced(load.value.type, load.slicing)
                self._load_pmus[key] = _pmus(min(2, slices) * part.nbytes, self.machine), 0
        return self._load_pmus[key]

    def _dealt_work(self) -> float:
        """The work of the phase in PCU-cycles with what is lost because stages spread in whole blocks only: that of the
        fastest pace at which all stages together find PCUs on the whole machine."""
        least, most = self._work / self.pcus, PCU_SHARE * self.pcus
        step = bisect.bisect_left(range(MOST_PACES), True, key=lambda step: self._units(least * PACES[step]) <= most)
        return least * PACES[step] * most

    def _units(self, pace: float) -> int:
        """The PCUs that all stages need if the phase takes `pace` cycles."""
        units = 0
        for (spread, events), count in self._kinds.items():
            units += count * spread.options[spread.within(pace / events)].units
        return units

    def port_pmus(self, length: int, pace: float) -> dict[str, int]:
        """PMUs whose ports the readers and writer of every value of the first `length` stages need, if the phase takes
        `pace` cycles: a PMU has two ports to read from, of which each reader uses one."""
        sent: dict[str, float] = {}
        total: dict[str, float] = {}
        written: dict[str, float] = {}
        for stage, spread, events in self._members[:length]:
            form, option = stage.form, spread.within(pace / events)
            for number, own in zip(form.reads, spread.sent_bytes(option)):
                name = stage.names[number]
                sent[name] = max(sent.get(name, 0.0), events * own)
                total[name] = total.get(name, 0.0) + events * own
            for number, own in zip(form.writes, spread.written_bytes(option)):
                written[stage.names[number]] = events * own
        machine = self.machine
        width = pace * machine.pmu_port_bytes_per_cycle
        found = {}
        for name in {**total, **written}:
            busiest = max(sent.get(name, 0.0), total.get(name, 0.0) / machine.pmu_read_ports, written.get(name, 0.0))
            found[name] = math.ceil(busiest / width)
        return found


@dataclass(frozen=True)
class Draft:
    """What the first `length` stages of an estimate cost, before the ports of PMUs are reckoned: those are needed for
    the best candidates only. `rings` are what stages write, with the PMUs that it fills; `loads` what is loaded, with
    the PMUs of its ring, or those that it fills as a whole."""

    outline: PhaseCost
    estimate: Estimate
    length: int
    rings: tuple[tuple[str, int], ...]
    loads: tuple[tuple[str, int, int], ...]

    def cost(self) -> PhaseCost:
        """The cost, with the ports that keep the phase's pace."""
        cost, machine = self.outline, self.estimate.machine
        moved = sum(cost.streamed.values()) / machine.tier_bytes_per_cycle(0)
        pace = max(cost.work / self.estimate.pcus, cost.floor, moved)
        ports = self.estimate.port_pmus(self.length, pace)
        rings = sum(max(held, ports.get(name, 0)) for name, held in self.rings)
        loads = sum(max(held, ports.get(name, 0) - kept) for name, held, kept in self.loads)
        return replace(cost, ring_pmus=rings + loads)


def draft_of(phase: Phase, machine: Machine, resident_bytes: int) -> Draft:
    """What a phase costs."""
    estimate = Estimate(phase.nest, machine, resident_bytes)
    for stage in phase.stages:
        estimate.add(stage)
    return estimate.draft()


def stored(writer: Writer) -> tuple[Reader, float]:
    """A store that takes away each unit as it is complete, and how much later it starts."""
    level = writer.completion
    return Reader(writer.nest, writer.slicing[:level], level), 1 / writer.nest.events(level)


def _pmus(nbytes: int, machine: Machine) -> int:
    return max(1, math.ceil(nbytes / machine.pmu_bytes))
