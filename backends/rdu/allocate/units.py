"""Allocation: how many PCUs each stage gets.

Phases of a section run one after another on their own units, so the section takes the sum of their times: a phase
takes until its slowest stage has fired for the last time, and what comes before its first and after its last firing.
Starting from the least any stage can do with, phases get faster, always the one where a PCU buys the most cycles, until
none buys enough to be worth its place, memory is slower, or the budget is spent.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from backends.rdu.stream.estimate import made_by
from backends.rdu.stream.nests import NestedStage, Phase, reader_of, writer_of
from backends.rdu.stream.spread import Option, options
from pef.cycles import fill_cycles
from pef.machine import Machine
from pef.nest import needed

WORTHWHILE_GAIN = 1e-4
"""A PCU must shorten its section by this fraction of its time, or it stays free: smaller designs place better."""

PACE_STEP = 0.93
"""Successive paces that are tried, as a ratio."""

MEMORY_LEAD = 0.6
"""Phases that compute in this part of the time that memory needs are fast enough."""


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

    `traffic_cycles[i]` is how long memory needs for what phase i moves in all. Memory works ahead, so that no phase is
    bound to its own traffic, but all phases together need not be much faster than all traffic. Every stage gets at
    least one lane, even where that is more than `pcus`.
    """
    plans = [_PhasePlan(phase, machine) for phase in phases]
    curves = [plan.curve() for plan in plans]
    chosen = [0] * len(plans)
    left = pcus - sum(curve[0].units for curve in curves)
    load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
    enough = MEMORY_LEAD * sum(traffic_cycles)
    while True:
        total = sum(curve[at].cycles for curve, at in zip(curves, chosen))
        steps = [
            (-_gain(curve[at], curve[at + 1]), index)
            for index, (curve, at) in enumerate(zip(curves, chosen))
            if at + 1 < len(curve) and curve[at + 1].units - curve[at].units <= left
        ]
        if not steps or total < enough:
            break
        loss, index = min(steps)
        if -loss < WORTHWHILE_GAIN * (total + load):
            break
        left -= curves[index][chosen[index] + 1].units - curves[index][chosen[index]].units
        chosen[index] += 1
    return [
        plan.allocated(curve[at].choice, traffic)
        for plan, curve, at, traffic in zip(plans, curves, chosen, traffic_cycles)
    ]


@dataclass(frozen=True, slots=True)
class _Point:
    """One allocation of a phase: the option of every stage, the PCUs it takes, and the phase's cycles."""

    choice: tuple[int, ...]
    units: int
    cycles: float


def _gain(first: _Point, second: _Point) -> float:
    """Cycles won by each further PCU."""
    return (first.cycles - second.cycles) / (second.units - first.units)


class _PhasePlan:
    """The ways in which the PCUs of a phase can be shared out."""

    def __init__(self, phase: Phase, machine: Machine) -> None:
        self.phase = phase
        self.tables = [options(stage.work, machine) for stage in phase.stages]
        self.events = [phase.events(stage) for stage in phase.stages]
        self.speeds = [[-events * option.cycles for option in table] for events, table in zip(self.events, self.tables)]
        self.fills = [fill_cycles(s.work, t[0].parallel, machine) for s, t in zip(phase.stages, self.tables)]
        self.sources = _sources(phase)
        self.readers: list[list[int]] = [[] for _ in phase.stages]
        for reader, sources in enumerate(self.sources):
            for source, _ in sources:
                self.readers[source].append(reader)

    def curve(self) -> list[_Point]:
        """Allocations of which each is the best use of its PCUs, from the fewest to the most that help.

        At every pace, each stage has the fewest PCUs that keep it; of all paces, only those stay that a mixture of two
        others does not beat, so that the gain by PCU falls from one to the next.
        """
        if not self.phase.stages:
            return [_Point((), 0, 0.0)]
        pace = float(max(events * table[0].cycles for events, table in zip(self.events, self.tables)))
        last = max(events * table[-1].cycles for events, table in zip(self.events, self.tables))
        points = [self._point(pace)]
        while pace > last:
            pace = max(last, pace * PACE_STEP)
            point = self._point(pace)
            if point.units > points[-1].units:
                points.append(point)
        hull: list[_Point] = []
        for point in points:
            if hull and point.cycles >= hull[-1].cycles:
                continue
            while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], point):
                hull.pop()
            hull.append(point)
        return hull

    def _point(self, pace: float) -> _Point:
        choice = tuple(min(bisect.bisect_left(speeds, -pace), len(speeds) - 1) for speeds in self.speeds)
        units = sum(table[i].units for table, i in zip(self.tables, choice))
        return _Point(choice, units, self._cycles(choice))

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

    def _cycles(self, choice: Sequence[int]) -> float:
        """How long the phase takes: for every stage, until it fires first, all firings, and what follows the last."""
        starts, tails = self.starts(choice), self._tails(choice)
        busy = [events * table[i].cycles for events, table, i in zip(self.events, self.tables, choice)]
        return max(start + own + fill + tail for start, own, fill, tail in zip(starts, busy, self.fills, tails))

    def allocated(self, choice: tuple[int, ...], traffic_cycles: float) -> AllocatedPhase:
        """The phase with one of its allocations."""
        chosen = tuple(table[i] for table, i in zip(self.tables, choice))
        pace = max((e * option.cycles for e, option in zip(self.events, chosen)), default=1.0)
        return AllocatedPhase(self.phase, chosen, max(pace, traffic_cycles, 1.0), tuple(self.starts(choice)))


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
