"""The nests in which the stages from some position on may stream: candidates for the cut to choose from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from backends.rdu.microbatches import Microbatches
from backends.rdu.stream.estimate import Draft, Estimate, PhaseCost, draft_of, loads_of
from backends.rdu.stream.forms import Cutting, Seed, counts_of, largest_count
from backends.rdu.stream.nests import (
    MOST_OUTER,
    NestedStage,
    Phase,
    Streak,
    inner_cuttings,
    inner_seeds,
    still_phase,
    streaks,
)
from pef.machine import Machine, SiteKind
from pef.nest import WHOLE, Nest, axis_of

SMALL_SLICE_BYTES = 1 << 18
"""Slices up to this size need no inner loop."""

INNER_SLICE_BYTES = (1 << 20, 1 << 23)
"""What the largest slice should come down to: small ones need few PMUs, large ones keep many PCUs busy at a time."""

FEW_OUTER = 8
"""Iterations of a coarse outer loop: each then has enough rows to fill the lanes of many PCUs."""

SMALL_FILL = 0.1
SMALL_SHARE = 0.1
"""A phase whose filling adds no more to it, and whose buffers fill no more of the PMUs, needs no inner loop."""

FEW_STARTS, MOST_STARTS = 2, 4
"""Stages in which an inner loop may start: where all sections are looked for, and where a few are looked at closely."""

MOST_INNER = 64
"""Iterations of an inner loop at most."""

RESIDENT_SHARE = 0.4
"""The part of the machine's PMUs that one load may stay in, before it is streamed again and again instead."""

FITTING_SHARE = 0.9
"""The part of the PMUs that the bytes of a candidate may fill, where another candidate needs less."""

HOPEFUL = 0.05
"""The part by which a nest may be modelled to take longer than another, and still be faster when it is planned."""

OPTIONS_KEPT = 3
"""Candidates for the same stages that are kept for the cut."""


class Break(Enum):
    """Whether a phase may end before a stage although it could go on: at products always, elsewhere only for lengths
    that double, of which there are few."""

    SOMETIMES = 0
    ALWAYS = 1


@dataclass(frozen=True)
class Choice:
    """A phase of the stages from one position on, and what it costs."""

    phase: Phase
    cost: PhaseCost

    @property
    def length(self) -> int:
        """Stages."""
        return len(self.phase.stages)


def choices(
    stages: Sequence[NestedStage], breaks: Sequence[Break], machine: Machine, microbatches: Microbatches | None = None
) -> tuple[list[Choice], int]:
    """Phases that begin with the first of `stages`: each as long as it goes, or up to a position that may break; and
    how many stages had to be looked at for that."""
    found: dict[int, list[_Candidate]] = {}
    reach = 1
    for streak in streaks(stages):
        longest = len(streak.stages)
        nests = _Nests(streak, machine, microbatches)
        for length in range(1, longest + 1):
            reach = max(reach, length + 1)
            doubled = length & (length - 1) == 0
            if length == longest or breaks[length] is Break.ALWAYS or (doubled and breaks[length] is Break.SOMETIMES):
                candidates = list(nests.of(length))
                found.setdefault(length, []).extend(candidates)
                if length > 1 and not any(fits(candidate.cost, machine) for candidate in candidates):
                    break
    if not found:
        still = _Candidate.of(still_phase(stages, machine.pcu_lanes), machine)
        found[still.length], reach = [still], still.length + 1
    best = (kept for group in found.values() for kept in _best(group, machine))
    return [Choice(candidate.phase, candidate.draft.cost()) for candidate in best], reach


def other_nests(
    phase: Phase,
    stages: Sequence[NestedStage],
    machine: Machine,
    microbatches: Microbatches | None = None,
    many: bool = False,
) -> list[Phase]:
    """Nests in which all the stages of a phase can stream that differ from its own in one loop, and are not modelled to
    take much longer: every count of the outer loop, and with the present one every inner loop that starts where most is
    written, whatever the size of the slices. The fastest come first. With `many`, all nests of two loops."""
    own = _modelled(_Candidate.of(phase, machine), machine)
    found: dict[tuple[object, ...], tuple[float, Phase]] = {_way_of(phase): (math.inf, phase)}
    for streak in streaks(stages):
        if len(streak.stages) == len(stages):
            for candidate in _Nests(streak, machine, microbatches).others(phase, many):
                time = _modelled(candidate, machine)
                if (many or time <= (1 + HOPEFUL) * own) and fits(candidate.cost, machine):
                    found.setdefault(_way_of(candidate.phase), (time, candidate.phase))
    del found[_way_of(phase)]
    return [other for _, other in sorted(found.values(), key=lambda found: found[0])]


def _way_of(phase: Phase) -> tuple[object, ...]:
    """What tells nests of the same stages apart."""
    return phase.nest, *(stage.slicings for stage in phase.stages)


def _modelled(candidate: _Candidate, machine: Machine) -> float:
    """The cycles of a phase by itself on the whole machine."""
    cost = candidate.cost
    rate, pcus = machine.tier_bytes_per_cycle(0), len(machine.working_sites(SiteKind.PCU))
    return max(cost.work / pcus, cost.floor, cost.loaded_bytes / rate) * (1 + cost.fill)


def fits(cost: PhaseCost, machine: Machine) -> bool:
    """Whether the machine has the units that a phase needs at the very least: if not, no longer one fits either."""
    pcus, pmus = (len(machine.working_sites(kind)) for kind in (SiteKind.PCU, SiteKind.PMU))
    return cost.pcus <= pcus and _least_pmus(cost, machine) <= pmus


def _least_pmus(cost: PhaseCost, machine: Machine) -> int:
    """The PMUs that the bytes of a phase fill."""
    return cost.least_pmus + sum(cost.resident.values()) // machine.pmu_bytes


def resident_bytes(machine: Machine) -> int:
    """The largest load that may stay."""
    return int(RESIDENT_SHARE * len(machine.working_sites(SiteKind.PMU)) * machine.pmu_bytes)


@dataclass(frozen=True)
class _Candidate:
    """A phase that may be kept, with its cost before ports are reckoned."""

    phase: Phase
    draft: Draft

    @staticmethod
    def of(phase: Phase, machine: Machine) -> _Candidate:
        """A phase, costed."""
        return _Candidate(phase, draft_of(phase, machine, resident_bytes(machine)))

    @property
    def cost(self) -> PhaseCost:
        """What it costs, ports left out."""
        return self.draft.outline

    @property
    def length(self) -> int:
        """Stages."""
        return len(self.phase.stages)


class _Nests:
    """The nests along which the first stages of a streak may stream."""

    def __init__(self, streak: Streak, machine: Machine, microbatches: Microbatches | None) -> None:
        self.streak = streak
        self.machine = machine
        self.microbatches = microbatches
        self._estimates: dict[int, Estimate] = {}
        self._inner_loops: dict[tuple[Nest, int, Seed], _InnerLoop] = {}

    def of(self, length: int) -> Iterator[_Candidate]:
        """The first stages with the outer loop as fine as it goes, alone and with inner loops."""
        divisor = self.streak.divisors[length - 1]
        asked = self.microbatches.count(divisor) if self.microbatches is not None else None
        fine = asked or largest_count(divisor, MOST_OUTER)
        base, largest = self._upto(length, fine)
        yield base
        coarse = largest_count(divisor, FEW_OUTER)
        if asked is None and 1 < coarse < fine:
            yield self._upto(length, coarse)[0]
        if largest <= SMALL_SLICE_BYTES or self._good_enough(base.cost):
            return
        yield from self._inner(base.phase, largest)
        if asked is None and any(
            axis_of(load.slicing, 0) == WHOLE and load.value.type.nbytes > resident_bytes(self.machine)
            for load in loads_of(base.phase, 0)
        ):
            for count in counts_of(divisor, MOST_OUTER)[-2::-2]:
                fewer, largest = self._upto(length, count)
                yield fewer
                yield from self._inner(fewer.phase, largest)

    def others(self, phase: Phase, many: bool) -> Iterator[_Candidate]:
        """The stages of a phase with every count of the outer loop; and with its own, or with `many` with each of
        them, every inner loop."""
        length = len(phase.stages)
        divisor = self.streak.divisors[length - 1]
        asked = self.microbatches.count(divisor) if self.microbatches is not None else None
        for count in (asked,) if asked else counts_of(divisor, MOST_OUTER):
            outer, _ = self._upto(length, count)
            yield outer
            if many or count == phase.nest.counts[0]:
                for position, seed, cuttings, limit in _inner_loops(outer.phase, MOST_STARTS):
                    for inner in counts_of(limit, MOST_INNER)[1:]:
                        yield self._with_inner(outer.phase, position, seed, cuttings, inner)

    def _good_enough(self, cost: PhaseCost) -> bool:
        """Whether an inner loop could hardly make a phase faster or smaller."""
        pmus = len(self.machine.working_sites(SiteKind.PMU))
        return cost.fill <= SMALL_FILL and _least_pmus(cost, self.machine) <= SMALL_SHARE * pmus

    def _upto(self, length: int, count: int) -> tuple[_Candidate, int]:
        """The first stages in one loop, no fewer than the last time, and the bytes of the largest slice."""
        phase = self.streak.phase(length, count)
        if count not in self._estimates:
            self._estimates[count] = Estimate(phase.nest, self.machine, resident_bytes(self.machine))
        estimate = self._estimates[count]
        for stage in phase.stages[estimate.stages :]:
            estimate.add(stage)
        return _Candidate(phase, estimate.draft()), estimate.largest_slice

    def _inner(self, phase: Phase, largest: int) -> Iterator[_Candidate]:
        """The phase with one inner loop, for every place where one may start."""
        for position, seed, cuttings, divisor in _inner_loops(phase, FEW_STARTS):
            counts = counts_of(divisor, MOST_INNER)
            wanted = [-(-largest // nbytes) for nbytes in INNER_SLICE_BYTES]
            for count in sorted({next((c for c in counts if c >= want), counts[-1]) for want in wanted} - {1}):
                yield self._with_inner(phase, position, seed, cuttings, count)

    def _with_inner(
        self, phase: Phase, position: int, seed: Seed, cuttings: tuple[Cutting | None, ...], count: int
    ) -> _Candidate:
        """The phase with an inner loop that starts at one stage: what is known of its first stages mostly stays."""
        nest = Nest((*phase.nest.counts, count))
        known = self._inner_loops.get((nest, position, seed))
        if known is None or cuttings[: len(known.cuttings)] != known.cuttings:
            known = _InnerLoop(Estimate(nest, self.machine, resident_bytes(self.machine)))
        stages = list(known.stages)
        for stage, cutting in zip(phase.stages[len(stages) :], cuttings[len(stages) :]):
            stages.append(stage.within(cutting, count))
            known.estimate.add(stages[-1])
        known = self._inner_loops[nest, position, seed] = _InnerLoop(known.estimate, cuttings, tuple(stages))
        return _Candidate(Phase(nest, known.stages, phase.divisor), known.estimate.draft())


def _inner_loops(phase: Phase, starts: int) -> Iterator[tuple[int, Seed, tuple[Cutting | None, ...], int]]:
    """Where an inner loop of a phase may start, in one of so many stages; how it then cuts the stages, and by what its
    count is limited."""
    seen = set()
    for position, seed in inner_seeds(phase, starts):
        cuttings, divisor = inner_cuttings(phase, position, seed)
        key = tuple(cuttings)
        if divisor > 1 and key not in seen:
            seen.add(key)
            yield position, seed, key, divisor


@dataclass(frozen=True)
class _InnerLoop:
    """An inner loop from some stage on: how it cuts the stages of the longest phase so far, and what they cost."""

    estimate: Estimate
    cuttings: tuple[Cutting | None, ...] = ()
    stages: tuple[NestedStage, ...] = ()


def _best(group: Sequence[_Candidate], machine: Machine) -> list[_Candidate]:
    """Those that are best in time, and those that need the fewest PMUs."""
    most = FITTING_SHARE * len(machine.working_sites(SiteKind.PMU))
    pmus = [_least_pmus(choice.cost, machine) for choice in group]
    fitting = [number for number, needed in enumerate(pmus) if needed <= most] or range(len(group))
    kept: list[_Candidate] = []
    fewest: float = math.inf
    for number in sorted(fitting, key=lambda number: (_modelled(group[number], machine), pmus[number])):
        if pmus[number] < fewest:
            kept.append(group[number])
            fewest = pmus[number]
    return kept[: OPTIONS_KEPT - 1] + kept[OPTIONS_KEPT - 1 :][-1:]
