"""Sections that are searched for: the ways in which their stages can stream, and which of them are followed further."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from backends.rdu.stream.choices import Choice
from backends.rdu.stream.nests import Phase

BEAM = 4
"""Ways to reach a position of a section that are followed further."""


Kind = tuple[int, int]
"""Where sections that look alike were found first, and their number there."""


ROUNDING = 1e-9
"""Two ways to add up the same cycles differ by less, as a ratio."""


@dataclass(frozen=True, slots=True)
class Way:
    """Phases in which the stages of a section can stream, and the cycles that the model expects of them: 0 where it was
    not asked."""

    phases: tuple[Phase, ...]
    cycles: float


@dataclass(frozen=True, slots=True)
class Rival:
    """Another section that could begin at the same place: its stages, its phases, and by how many cycles the graph as
    a whole would take longer with it."""

    length: int
    phases: int
    extra_cycles: float


@dataclass(frozen=True)
class Section:
    """A section from one position on: its phases, its modelled cycles, and those that it was preferred to. `excess` are
    the units that it needs beyond those of the whole machine: a single stage that has to go somewhere.

    `others` are ways in which the same stages could stream as well. Sections of equal `kind` look alike, at whatever
    position; until one is chosen, its phases are those found first.
    """

    phases: tuple[Phase, ...]
    cycles: float
    rivals: tuple[Rival, ...] = ()
    others: tuple[Way, ...] = ()
    kind: Kind = (0, 0)
    excess: int = 0

    @cached_property
    def length(self) -> int:
        """Stages."""
        return sum(len(phase.stages) for phase in self.phases)


@dataclass(slots=True)
class Partial:
    """Phases from the start of a section up to a position, and what they ask for so far.

    `ends` are the stages behind each phase, `live` the PMUs of what lives in each and `pmus` the most of them. `held`
    says of each value that is held whole the last phase that has read it, `loaded` of what streamed in and may stay the
    phase that loads it.
    """

    phases: tuple[Phase, ...] = ()
    works: tuple[float, ...] = ()
    floors: tuple[float, ...] = ()
    staying: tuple[float, ...] = ()
    streamed: tuple[float, ...] = ()
    pcus: int = 0
    ends: tuple[int, ...] = ()
    pmus: int = 0
    live: tuple[int, ...] = ()
    held: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)
    roots: float = 0.0
    floor: float = 0.0
    memory: float = 0.0
    begun: float = 0.0
    ended: float = 0.0
    arrived: float = 0.0
    """When the last phase begins and ends, and when all that has been loaded has arrived. With further phases, which
    take some of the PCUs, it is no earlier."""


Rank = tuple[int, float, int]
"""Units that do not fit, cycles, and PMUs: the less, the better."""


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """Something that a phase loads at some position: the stage that makes it, the last stage before that makes or reads
    it, whether it stays in the phase, its bytes, and the PMUs that it fills as a whole."""

    name: str
    maker: int
    last: int
    resident: bool
    nbytes: int
    pmus: int


@dataclass(frozen=True, slots=True)
class NextPhase:
    """A phase that may come next at some position: its choice, the square root of its work, and its floor, both with
    filling; and what it loads."""

    choice: Choice
    root: float
    floor: float
    loads: tuple[FirstLoad, ...]

    def fresh_bytes(self, start: int) -> tuple[int, int]:
        """The bytes that a section which begins at `start` cannot have before this phase: what stays, what streams."""
        staying = streamed = 0
        for load in self.loads:
            if load.last < start:
                if load.resident:
                    staying += load.nbytes
                else:
                    streamed += load.nbytes
        return staying, streamed

    def whole_pmus(self, start: int) -> int:
        """The PMUs of what this phase reads from where it is held whole, in a section that begins at `start`."""
        held = {load.name: load.pmus for load in self.loads if load.resident or load.maker >= start}
        return sum(held.values())


class Offer(NamedTuple):
    """A way so far with one more phase, and the cycles and PMUs that it needs at least; `number` counts them."""

    cycles: float
    pmus: int
    number: int
    partial: Partial
    step: NextPhase


class Reached:
    """The ways to a position that are offered, and those that are followed further: the fastest, and the one of fewest
    PMUs."""

    def __init__(self) -> None:
        self.offers: list[Offer] = []
        self.best: list[tuple[Rank, Partial]] = []
        self.smallest: tuple[Rank, Partial] | None = None

    def offer(self, cycles: float, pmus: int, partial: Partial, step: NextPhase) -> None:
        """Note a way."""
        self.offers.append(Offer(cycles, pmus, len(self.offers), partial, step))

    def may_keep(self, cycles: float, pmus: int) -> bool:
        """Whether a way that takes no less than these would be kept; it fits. Where memory decides, many ways take the
        same time: of those only smaller ones."""
        if self.smallest is None or len(self.best) < BEAM - 1:
            return True
        (excess, slowest, most), (more, smallest, fewest) = self.best[-1][0], self.smallest[0]
        if excess or cycles < slowest * (1 - ROUNDING) or (cycles <= slowest and pmus < most):
            return True
        return pmus < fewest or (pmus == fewest and (more > 0 or cycles < smallest * (1 - ROUNDING)))

    def add(self, rank: Rank, partial: Partial) -> None:
        """Keep a way, or not; of equal ones the first."""
        if len(self.best) < BEAM - 1 or rank < self.best[-1][0]:
            bisect.insort_right(self.best, (rank, partial), key=_rank_of)
            del self.best[BEAM - 1 :]
        if self.smallest is None or (partial.pmus, *rank) < (self.smallest[1].pmus, *self.smallest[0]):
            self.smallest = rank, partial

    def kept(self) -> list[tuple[Rank, Partial]]:
        """All that are followed, the best first."""
        assert self.smallest is not None
        return self.best if any(self.smallest[1] is way for _, way in self.best) else [*self.best, self.smallest]


def _rank_of(way: tuple[Rank, Partial]) -> Rank:
    return way[0]


def shared_spans(works: Sequence[float], floors: Sequence[float], pcus: int) -> list[float]:
    """The cycles of phases that run one after another on PCUs of their own, in the least time.

    Phase p takes the longer of works[p] / n_p and floors[p]. Those that work decides share the PCUs in proportion to
    sqrt(works[p]), which is best; the others get what keeps them no slower than they are anyway.
    """
    if len(works) == 1:
        return [max(works[0] / pcus, floors[0])]
    roots = [math.sqrt(work) for work in works]
    share = sum(roots) / pcus
    if all(root * share >= floor for root, floor in zip(roots, floors)):
        return [root * share for root in roots]
    bound = [max(floor, 1e-9) for floor in floors]
    limited: set[int] = set()
    left: float = pcus
    while True:
        total = sum(root for p, root in enumerate(roots) if p not in limited) if limited else sum(roots)
        spans = [bound[p] if p in limited else root * total / left for p, root in enumerate(roots)]
        slower = [p for p, (span, least) in enumerate(zip(spans, bound)) if span < least]
        if not slower:
            return spans
        limited.update(slower)
        left = pcus - sum(works[p] / bound[p] for p in limited)
        if left <= 0:
            limited, left = set(), pcus
            bound = [0.0] * len(works)
