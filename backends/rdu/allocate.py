"""Allocation: how many PCUs each stage gets.

Phases of a section run one after another on their own units, so the section takes the sum of their times: a phase
takes until its slowest stage has fired for the last time, and what comes before its first and after its last firing.
Starting from the least any stage can do with, PCUs go where each buys the most cycles, until none buys enough to be
worth its place or the budget is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.rdu.estimate import made_by
from backends.rdu.nests import NestedStage, Phase, reader_of, writer_of
from backends.rdu.spread import Option, options
from pef.cycles import fill_cycles
from pef.machine import Machine
from pef.nest import needed

WORTHWHILE_GAIN = 1e-4
"""A PCU must shorten its section by this fraction of its time, or it stays free: smaller designs place better."""


@dataclass(frozen=True, slots=True)
class AllocatedPhase:
    """A phase with the PCUs of each stage. `cycles` is how long it streams, memory included, and `starts` when each
    stage first fires, in cycles from the beginning of the phase."""

    phase: Phase
    options: tuple[Option, ...]
    cycles: float
    starts: tuple[float, ...]

    @property
    def stages(self) -> tuple[NestedStage, ...]:
        """Its stages, in dataflow order."""
        return self.phase.stages

    @property
    def units(self) -> int:
        """PCUs in all."""
        return sum(option.units for option in self.options)

    def interval(self, events: int) -> float:
        """Cycles between successive ones of so many events that are spread over the phase."""
        return self.cycles / events


def allocate(
    phases: Sequence[Phase], traffic_cycles: Sequence[float], machine: Machine, pcus: int
) -> list[AllocatedPhase]:
    """PCUs for the phases of one section.

    `traffic_cycles[i]` is how long memory needs for what phase i moves in all: it need not be faster than that. Every
    stage gets at least one lane, even where that is more than `pcus`.
    """
    plans = [_PhasePlan(phase, floor, machine) for phase, floor in zip(phases, traffic_cycles)]
    left = pcus - sum(plan.least_units for plan in plans)
    load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
    total = load + sum(plan.time() for plan in plans)
    while True:
        steps = [step for plan in plans for step in plan.steps() if step.units <= left]
        best = max(steps, key=lambda step: step.rate, default=None)
        if best is None or best.rate < WORTHWHILE_GAIN * total:
            break
        total -= best.plan.time()
        best.plan.choose(best.choice)
        total += best.plan.time()
        left -= best.units
    return [plan.allocated() for plan in plans]


class _PhasePlan:
    """A phase and the option each stage has chosen so far."""

    def __init__(self, phase: Phase, floor: float, machine: Machine) -> None:
        self.phase = phase
        self.floor = floor
        self.tables = [options(stage.work, machine) for stage in phase.stages]
        self.events = [phase.events(stage) for stage in phase.stages]
        self.choice = [0] * len(phase.stages)
        self.least_units = sum(table[0].units for table in self.tables)
        self.fills = [fill_cycles(s.work, t[0].parallel, machine) for s, t in zip(phase.stages, self.tables)]
        self.sources = _sources(phase)
        self.readers: list[list[int]] = [[] for _ in phase.stages]
        for reader, sources in enumerate(self.sources):
            for source, _ in sources:
                self.readers[source].append(reader)
        self._steps: list[_Step] | None = None
        self._time: float | None = None

    def time(self) -> float:
        """Cycles of the whole phase as it stands."""
        if self._time is None:
            self._time = self._time_of(self.choice)
        return self._time

    def choose(self, choice: list[int]) -> None:
        """Spread the stages in another way."""
        self.choice = choice
        self._steps = self._time = None

    def steps(self) -> list[_Step]:
        """Ways to widen the phase: all stages that set its pace together, or one stage of the path that decides."""
        if self._steps is None:
            self._steps = list(self._find_steps())
        return self._steps

    def starts(self, choice: Sequence[int]) -> list[float]:
        """When each stage first fires, if nothing but its operands holds it up."""
        found: list[float] = []
        for sources in self.sources:
            start = 0.0
            for source, firings in sources:
                cycles = self.tables[source][choice[source]].cycles
                start = max(start, found[source] + firings * cycles + self.fills[source])
            found.append(start)
        return found

    def _tails(self, choice: Sequence[int]) -> list[float]:
        """From the end of each stage's last firing to the end of the phase."""
        tails = [0.0] * len(self.tables)
        for index in range(len(self.tables) - 1, -1, -1):
            for reader in self.readers[index]:
                firings = max(1, self.events[reader] // self.events[index])
                behind = firings * self.tables[reader][choice[reader]].cycles + tails[reader]
                tails[index] = max(tails[index], self.fills[index] + behind)
        return tails

    def _time_of(self, choice: Sequence[int]) -> float:
        return max(*self._path_times(choice), self.floor)

    def _path_times(self, choice: Sequence[int]) -> list[float]:
        """For each stage, how long the phase takes on its account."""
        starts, tails = self.starts(choice), self._tails(choice)
        return [
            start + events * table[option].cycles + fill + tail
            for start, events, table, option, fill, tail in zip(
                starts, self.events, self.tables, choice, self.fills, tails
            )
        ]

    def _pace(self, choice: Sequence[int]) -> float:
        """Cycles that the slowest stage computes in all."""
        return max(e * table[i].cycles for e, table, i in zip(self.events, self.tables, choice))

    def _find_steps(self) -> Iterable[_Step]:
        pace = self._pace(self.choice)
        before = self.time()
        if pace > self.floor:
            wider = [self._below(stage, pace) for stage in range(len(self.tables))]
            if None not in wider:
                yield from self._step([i for i in wider if i is not None], before)
        times = self._path_times(self.choice)
        critical = max(range(len(times)), key=times.__getitem__)
        for stage in {critical, *self._behind(critical)}:
            if self.choice[stage] + 1 < len(self.tables[stage]):
                choice = list(self.choice)
                choice[stage] += 1
                yield from self._step(choice, before)

    def _behind(self, stage: int) -> list[int]:
        """The stages on the way to `stage` that decide when it starts."""
        starts, path = self.starts(self.choice), []
        while self.sources[stage]:
            stage = max(
                self.sources[stage],
                key=lambda source: (
                    starts[source[0]] + source[1] * self.tables[source[0]][self.choice[source[0]]].cycles
                ),
            )[0]
            path.append(stage)
        return path

    def _step(self, choice: list[int], before: float) -> Iterable[_Step]:
        units = sum(t[j].units - t[i].units for t, i, j in zip(self.tables, self.choice, choice))
        if units > 0:
            yield _Step((before - self._time_of(choice)) / units, self, choice, units)

    def _below(self, stage: int, pace: float) -> int | None:
        """The narrowest option of a stage that is faster than `pace` over all its firings."""
        table, events = self.tables[stage], self.events[stage]
        return next((j for j in range(self.choice[stage], len(table)) if events * table[j].cycles < pace), None)

    def allocated(self) -> AllocatedPhase:
        """The plan as it stands."""
        chosen = tuple(table[i] for table, i in zip(self.tables, self.choice))
        cycles = max(self._pace(self.choice), self.floor)
        return AllocatedPhase(self.phase, chosen, cycles, tuple(self.starts(self.choice)))


@dataclass(frozen=True, slots=True)
class _Step:
    """Widening a phase to `choice` for `units` more PCUs gains `rate` cycles for each."""

    rate: float
    plan: _PhasePlan
    choice: list[int]
    units: int


def _sources(phase: Phase) -> list[list[tuple[int, int]]]:
    """For each stage, the stages it reads from, and after how many of their firings it can fire first."""
    makers = made_by(phase.stages)
    found: list[list[tuple[int, int]]] = []
    for position, stage in enumerate(phase.stages):
        sources = []
        for value in stage.stage.reads:
            if value.name in makers and makers[value.name][0] < position:
                source = makers[value.name][0]
                writer = writer_of(phase, phase.stages[source], value)
                sources.append((source, needed(writer, reader_of(phase, stage, value), 0) + 1))
        found.append(sources)
    return found
