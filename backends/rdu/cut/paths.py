"""The path that takes a graph from its first stage to its last in the least time, section by section.

The search offers sections with the cycles that a simple model expects. To predict one as it would be planned takes a
thousand times as long, so it is done only for the sections of paths that seem best, until no path that has to be
predicted first promises to be better than the best that is known: at first in the way to stream that the model
prefers; then in its other ways; then with other nests of each phase. Small graphs are searched through.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from backends.rdu.cut.ways import Rival, Section, Way
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

    def is_least(self, start: int, phases: Sequence[Phase], cycles: float) -> bool:
        """Whether a section that takes so many cycles could hardly take fewer, however its stages stream."""


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


@dataclass
class Paths:
    """What is known of the sections of a graph of so many `stages`, and the best path through them. Without `weigh`,
    every section takes as long as modelled."""

    stages: int
    weigh: Weigh | None
    other_nests: OtherNests
    _known: dict[tuple[int, int], Known] = field(default_factory=dict)
    _ratios: list[float] = field(default_factory=list)
    _falls: dict[Look, list[float]] = field(default_factory=lambda: {look: [] for look in Look})

    def best(self, ways: Mapping[int, Sequence[Section]]) -> list[tuple[Section, tuple[Rival, ...]]]:
        """The sections with the least time in all, of those that can begin at each stage, with those that each was
        preferred to."""
        path = self._best(ways)
        _, total = self._path(ways, Look.REFINED)
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
                chosen, total = self._path(ways, look)
                if total[0] >= least * (1 - WORTHWHILE_GAIN):
                    break
                for section in self._along(chosen):
                    self.looked_at(section, look)
                known = {start: [s for s in found if self._has_looked(s, look)] for start, found in ways.items()}
                chosen, total = self._path(known, look)
                best, least = self._along(chosen), total[0]
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
        if weigh.is_least(position, phases, cycles):
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

    def _path(self, ways: Mapping[int, Sequence[Section]], look: Look) -> tuple[dict[int, Section], dict[int, float]]:
        """The best section from every position from where these lead to the end, and the cycles of all sections from
        there, as far as can be told before all are looked at so closely."""
        total = {self.stages: 0.0}
        chosen: dict[int, Section] = {}
        for start in sorted(ways, reverse=True):
            leading = [section for section in ways[start] if start + section.length in total]
            if leading:
                chosen[start] = min(leading, key=lambda s: self._weight(s, look) + total[start + s.length])
                total[start] = self._weight(chosen[start], look) + total[start + chosen[start].length]
        return chosen, total

    def _along(self, chosen: Mapping[int, Section]) -> list[Section]:
        """The chosen sections from the first stage on, one behind the other."""
        path, position = [], 0
        while position < self.stages:
            path.append(chosen[position])
            position += path[-1].length
        return path

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
