"""Ways through a section that is searched for: phases up to a position, and which of them are followed further."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from backends.rdu.stream.choices import Choice
from backends.rdu.stream.nests import Phase

BEAM = 4
"""Ways to reach a position of a section that are followed further."""


@dataclass
class Partial:
    """Phases from the start of a section up to a position, and what they ask for so far."""

    phases: tuple[Phase, ...] = ()
    works: tuple[float, ...] = ()
    floors: tuple[float, ...] = ()
    staying: tuple[float, ...] = ()
    streamed: tuple[float, ...] = ()
    pcus: int = 0
    rings: int = 0
    held: dict[str, int] = field(default_factory=dict)
    held_pmus: int = 0
    loaded: frozenset[str] = frozenset()
    roots: float = 0.0
    floor: float = 0.0
    memory: float = 0.0

    @property
    def pmus(self) -> int:
        """PMUs of all buffers."""
        return self.rings + self.held_pmus


Rank = tuple[int, float, int]
"""Units that do not fit, cycles, and PMUs: the less, the better."""


@dataclass(frozen=True, slots=True)
class NextPhase:
    """A phase that may come next at some position: its choice, the square root of its work, and its floor, both with
    filling; and what it loads that sections from some start on cannot have: `known` says for each load the last stage
    before that made or read it, ascending, `fresh` the bytes of so many of them."""

    choice: Choice
    root: float
    floor: float
    known: tuple[int, ...]
    fresh: tuple[int, ...]
    wholes: tuple[tuple[int, int, int], ...]
    """For each load: a section that begins behind the first number must hold it whole, as must one that begins no later
    than the second; and the PMUs that takes."""

    def fresh_bytes(self, start: int) -> int:
        """The bytes that a section must load for this phase if it begins at `start`."""
        return self.fresh[bisect.bisect_left(self.known, start)]

    def fresh_pmus(self, start: int) -> int:
        """The PMUs of what this phase must be the first to hold whole in a section that begins at `start`."""
        return sum(pmus for before, made, pmus in self.wholes if before < start or start <= made)


@dataclass(frozen=True, slots=True)
class Offer:
    """A way so far with one more phase, and the cycles and PMUs that it needs at least."""

    cycles: float
    pmus: int
    partial: Partial
    step: NextPhase


class Reached:
    """The ways to a position that are offered, and those that are followed further: the fastest, and the one of fewest
    PMUs."""

    def __init__(self) -> None:
        self.offers: list[Offer] = []
        self.best: list[tuple[Rank, Partial]] = []
        self.smallest: tuple[Rank, Partial] | None = None

    def may_keep(self, cycles: float, pmus: int) -> bool:
        """Whether a way that takes no less than these would be kept; it fits."""
        if self.smallest is None or len(self.best) < BEAM - 1:
            return True
        (excess, slowest, _), (more, smallest, fewest) = self.best[-1][0], self.smallest[0]
        return excess > 0 or cycles <= slowest or pmus < fewest or (pmus == fewest and (more > 0 or cycles <= smallest))

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
