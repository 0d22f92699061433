"""The path that takes a graph from its first stage to its last in the least time, section by section.

The search offers sections with the cycles that a simple model expects. To predict one as it would be planned takes a
thousand times as long, so it is done only for the sections of paths that seem best, until no path that has to be
predicted first promises to be better than the best that is known: at first in the way to stream that the model
prefers; then in its other ways; then with other nests of each phase. Small graphs are searched through.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from backends.rdu.cut.ways import Kind, Rival, Section, Way
from backends.rdu.stream.nests import Phase

WORTHWHILE_GAIN = 1e-3
"""The part of all its time that a graph must seem to save for further sections to be weighed."""

MOST_WEIGHED = 120
"""Sections beyond which no further path is weighed, but for the first paths of long graphs."""

FIRST_PATHS = 3
"""Paths that are weighed however long they are."""

MOST_THOROUGH = 4
"""Paths that are looked at more closely at most."""

FEW, SMALL = 8, 12
"""Of so few sections in a graph of so few stages, all are refined, and many nests of the best are predicted."""

WORTH_REFINING, WORTH_EXHAUSTING = 0.05, 0.02
"""The part of its time that a section must have to gain, for other nests of its phases to be predicted: most gain much
less than they could."""

PATIENCE = 3
"""Nests of a phase that are predicted in vain before the others are given up."""

USUAL = 0.75
"""The part of weighed sections that is expected to take at least so much longer than modelled: a few are taken to be
better than most, so that they are weighed too."""

UNFIT = 1e3
"""How many times as long as modelled a section counts that does not fit when it is planned."""


class Weigh(Protocol):
    """Predicts sections as they would be planned."""

    def fastest(self, start: int, ways: Sequence[Way], least: float) -> tuple[float, int | None]:
        """The cycles of the section that begins at a stage in the fastest of these ways to stream, loads included, and
        which of them that is; the cycles that are given, and None, where none fits in less."""

    def is_least(self, start: int, phases: Sequence[Phase], cycles: float, gain: float) -> bool:
        """Whether a section that takes so many cycles could take fewer by hardly more than a part `gain` of them,
        however its stages stream."""


OtherNests = Callable[[int, Phase, bool], Sequence[Phase]]
"""Other nests of a phase that begins at a stage: the most promising, or many."""


class Look(IntEnum):
    """How closely a section has been looked at: not at all, in the way that the model prefers, in all its ways, with
    other nests that are near those of the best of them, and with many others."""

    NONE = 0
    PREFERRED = 1
    ALL_WAYS = 2
    REFINED = 3
    EXHAUSTED = 4


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a section: its cycles in the fastest of the ways that were looked at, and its phases there."""

    cycles: float
    phases: tuple[Phase, ...]
    look: Look


@dataclass(frozen=True, slots=True)
class Onward:
    """The sections from a position to the end of a graph, one behind the other, and their cycles: at the end, none."""

    cycles: float = 0.0
    section: Section | None = None
    then: Onward | None = None

    def sections(self) -> Iterator[Section]:
        """Each of them, the first one first: there may be thousands."""
        here: Onward | None = self
        while here is not None and here.section is not None:
            yield here.section
            here = here.then


@dataclass
class Paths:
    """What is known of the sections of a graph of so many `stages`, and the best path through them. Without `weigh`,
    every section takes as long as modelled. A section behind one of its own kind takes `reload` cycles less: its
    program is there."""

    stages: int
    reload: float
    weigh: Weigh | None
    other_nests: OtherNests
    _known: dict[Kind, Known] = field(default_factory=dict)
    _repeated: set[Kind] = field(default_factory=set)
    _ratios: list[float] = field(default_factory=list)
    _falls: dict[Look, list[float]] = field(default_factory=lambda: {look: [] for look in Look})

    def best(self, ways: Mapping[int, Sequence[Section]]) -> list[tuple[Section, tuple[Rival, ...]]]:
        """The sections with the least time in all, of those that can begin at each stage, with those that each was
        preferred to."""
        places = {(start, section.kind) for start, found in ways.items() for section in found}
        self._repeated = {s.kind for at, found in ways.items() for s in found if (at + s.length, s.kind) in places}
        path = self._best(ways)
        onward = self._onward(ways, Look.REFINED)
        total = {position: way.cycles for position, way in onward.items()}
        found = []
        position = 0
        for best in path:
            rivals = (
                Rival(s.length, len(s.phases), self._weight(s) + total[position + s.length] - total[position])
                for s in ways[position]
                if s.length != best.length and self._weight(s) < UNFIT * s.cycles
            )
            found.append((best, tuple(sorted(rivals, key=lambda rival: rival.extra_cycles))))
            position += best.length
        return found

    def _best(self, ways: Mapping[int, Sequence[Section]]) -> list[Section]:
        kinds = {section.kind: section for found in ways.values() for section in found}
        few = len(kinds) <= FEW and self.stages <= SMALL
        for section in kinds.values() if few else ():
            self.looked_at(section, Look.REFINED)
        best: list[Section] = []
        for look in (Look.PREFERRED, Look.ALL_WAYS, Look.REFINED, *([Look.EXHAUSTED] if few else [])):
            least, paths = math.inf, FIRST_PATHS if look is Look.PREFERRED else MOST_THOROUGH
            while paths > 0 or (look is Look.PREFERRED and len(self._known) < MOST_WEIGHED):
                paths -= 1
                hopeful = self._onward(ways, look)[0]
                if hopeful.cycles >= least * (1 - WORTHWHILE_GAIN):
                    break
                for section in hopeful.sections():
                    self.looked_at(section, look)
                known = {start: [s for s in found if self._has_looked(s, look)] for start, found in ways.items()}
                path = self._onward(known, look)[0]
                best, least = list(path.sections()), path.cycles
            ways = known
        return best

    def looked_at(self, section: Section, look: Look) -> Known:
        """What is known of a section once it has been looked at so closely, and more while it does not fit."""
        if self.weigh is None:
            return Known(section.cycles, section.phases, look)
        unfit = UNFIT * section.cycles
        known = self._known.get(section.kind) or Known(unfit, section.phases, Look.NONE)
        while known.look < look or (known.cycles >= unfit and known.look < Look.REFINED):
            closer = self._closer(section, known, self.weigh)
            if closer.cycles < unfit:
                if known.cycles >= unfit:
                    bisect.insort(self._ratios, closer.cycles / section.cycles)
                else:
                    bisect.insort(self._falls[closer.look], closer.cycles / known.cycles)
            known = closer
        self._known[section.kind] = known
        return known

    def _closer(self, section: Section, known: Known, weigh: Weigh) -> Known:
        """The section looked at one step more closely."""
        position, _ = section.kind
        look = Look(known.look + 1)
        if look <= Look.ALL_WAYS:
            ways = (Way(section.phases, section.cycles),) if look is Look.PREFERRED else section.others
            cycles, number = weigh.fastest(position, ways, known.cycles)
            return Known(cycles, known.phases if number is None else ways[number].phases, look)
        cycles, phases, start = known.cycles, known.phases, position
        if weigh.is_least(position, phases, cycles, WORTH_REFINING if look is Look.REFINED else WORTH_EXHAUSTING):
            return Known(cycles, phases, look)
        for number, phase in enumerate(known.phases):
            nests = self.other_nests(start, phase, look is Look.EXHAUSTED)
            patience = len(nests) if look is Look.EXHAUSTED else PATIENCE
            for first in range(0, len(nests), max(1, patience)):
                near = nests[first : first + patience]
                others = [(*phases[:number], other, *phases[number + 1 :]) for other in near]
                cycles, better = weigh.fastest(position, [Way(other, 0.0) for other in others], cycles)
                if better is None:
                    break
                phases = others[better]
            start += len(phase.stages)
        return Known(cycles, phases, look)

    def _has_looked(self, section: Section, look: Look) -> bool:
        """Whether it has been looked at so closely."""
        known = self._known.get(section.kind)
        return self.weigh is None or (known is not None and known.look >= look)

    def _onward(self, ways: Mapping[int, Sequence[Section]], look: Look) -> dict[int, Onward]:
        """The best way to the end from every position from where these lead there, as far as can be told before all
        sections are looked at so closely."""
        best = {self.stages: Onward()}
        with_first: dict[tuple[int, Kind], Onward] = {}
        weights: dict[Kind, float] = {}
        for start in sorted(ways, reverse=True):
            least, first, behind = math.inf, None, None
            for section in ways[start]:
                end, kind = start + section.length, section.kind
                then = best.get(end)
                if then is None:
                    continue
                weight = weights.get(kind)
                if weight is None:
                    weight = weights[kind] = self._weight(section, look)
                cycles = weight + then.cycles
                if kind in self._repeated:
                    again = with_first.get((end, kind))
                    if again is not None and again.cycles - self.reload < then.cycles:
                        cycles, then = weight + again.cycles - self.reload, again
                    with_first[start, kind] = Onward(cycles, section, then)
                if cycles < least:
                    least, first, behind = cycles, section, then
            if first is not None:
                best[start] = Onward(least, first, behind)
        return best

    def _weight(self, section: Section, look: Look = Look.REFINED) -> float:
        """Cycles as predicted where it has been looked at so closely. Where it has been less closely, they are expected
        to fall as they did for a few of the others, as `USUAL` says; where it has not, the cycles are as modelled, by
        as much longer as most of the others turned out to take: the model leaves out some of what a prediction knows
        of."""
        known = self._known.get(section.kind)
        if known is None:
            return section.cycles * max(1.0, _usual(self._ratios))
        return known.cycles * math.prod(_usual(self._falls[Look(step)]) for step in range(known.look + 1, look + 1))


def _usual(ratios: Sequence[float]) -> float:
    """What ratios that ascend come to at least, but for a few."""
    return ratios[int((1 - USUAL) * (len(ratios) - 1))] if ratios else 1.0
