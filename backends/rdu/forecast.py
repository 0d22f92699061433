"""How long a section takes, without counting its events: what the cut decides by, and what a PEF predicts.

A stage is followed at its first and at its last firing only; in between it fires at a steady pace. Its first follows
the first firings of what it reads and the first slices of its loads, its last follows theirs in the same way. Memory
is shared equally by all that moves at a time, as in the simulator, but a load or store is one transfer here, however
many slices it has: before its phase begins it goes on as far as its buffer holds, then as memory and stages let it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from pef.machine import Machine

NEVER = float("inf")

HALF_BYTE = 0.5
"""Amounts of bytes that differ by less are the same."""


@dataclass(frozen=True, slots=True)
class Source:
    """A stage of the same phase that another reads: `first` of its firings come before the reader's first, and `behind`
    firings of the reader come after the one that waits for its last. The buffer between them holds the share `held`."""

    stage: int
    first: int
    behind: int
    held: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A load that a stage reads, by its number in the section: a `share` of it is needed for the first firing, and
    `behind` firings come after the one that waits for its end."""

    load: int
    share: float
    behind: int


Place = tuple[int, int]
"""A store: its phase, and its number among the stores of that."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """A stage: its firings, the cycles of each, and those from the end of one to its results being in a buffer. `after`
    are stores of earlier phases that empty the place it writes to."""

    events: int
    interval: float
    fill: float
    sources: tuple[Source, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    after: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """The bytes that a load moves, from which tier, and through which AGCUs.

    `held` is the share of it that its buffer holds: no more is loaded before its phase begins, and later no more than
    that is ahead of its readers. One that is not `early` waits for its phase, and all for the stores that they come
    `after`. The streamed loads of a phase wait for its whole ones.
    """

    nbytes: float
    tier: int
    agcus: tuple[int, ...]
    held: float
    whole: bool
    early: bool = True
    after: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreTimes:
    """What a store moves, as of a load. Its `stage` makes it, in `first` firings for the first of so many `transfers`;
    `held` is the share that the buffer between them holds. Without a stage it moves what the section loaded."""

    nbytes: float
    tier: int
    agcus: tuple[int, ...]
    stage: int | None
    first: int
    transfers: int
    held: float


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """A phase: its stages in dataflow order, and what it loads and stores. Loads are numbered through the section."""

    stages: tuple[StageTimes, ...]
    loads: tuple[LoadTimes, ...]
    stores: tuple[StoreTimes, ...]


def section_cycles(phases: Sequence[PhaseTimes], machine: Machine) -> float:
    """Cycles from the beginning of a section to its end."""
    return _Timeline(phases, machine).run()


def _spans(phase: PhaseTimes) -> list[float]:
    """How long each stage fires if what it reads is there: its own cycles, or those of a slower reader, which it can be
    ahead of by what the buffer between them holds."""
    spans = [stage.events * max(1.0, stage.interval) for stage in phase.stages]
    for number in range(len(spans) - 1, -1, -1):
        for source in phase.stages[number].sources:
            spans[source.stage] = max(spans[source.stage], (1 - source.held) * spans[number])
    return spans


@dataclass(eq=False, slots=True)
class _Flow:
    """A load or store. It stops at `limit` bytes; `marks` are the amounts that somebody waits for, ascending, the last
    one all of it.

    Its stages move no more than `pace` bytes in a cycle, `since` they have begun. A load is no more than `held` bytes
    ahead of that, where its ring is `full`; a store begins with the `held` bytes of its first transfer.
    """

    tier: int
    agcus: tuple[int, ...]
    marks: list[float]
    pace: float = NEVER
    held: float = NEVER
    limit: float = 0.0
    times: list[float] = field(default_factory=list)
    moved: float = 0.0
    rate: float = 0.0
    cap: float = 0.0
    since: float = NEVER
    full: bool = False
    begun: bool = False

    @property
    def ended(self) -> bool:
        """Whether all of it has been moved."""
        return len(self.times) == len(self.marks)

    def time_of(self, amount: float) -> float:
        """When it had moved so much, which is one of its marks."""
        position = next(i for i, mark in enumerate(self.marks) if mark >= amount - HALF_BYTE)
        return self.times[position] if position < len(self.times) else NEVER

    def next_event(self, now: float) -> float:
        """When it reaches a mark or its limit, or its ring is full, at its present rate."""
        left = min(self.limit, self.marks[len(self.times)]) - self.moved
        after = left / self.rate
        if not self.full and self.rate > self.pace and self.since < NEVER:
            room = self.held + max(0.0, now - self.since) * self.pace - self.moved
            after = min(after, max(0.0, room) / (self.rate - self.pace))
        return now + after

    def move(self, now: float, elapsed: float) -> bool:
        """Go on for so many cycles, until `now`; whether its rate may change with that."""
        self.moved += elapsed * self.rate
        while not self.ended and self.moved >= self.marks[len(self.times)] - HALF_BYTE:
            self.times.append(now)
        if self.full or self.since == NEVER or self.rate <= self.pace:
            return self.stopped
        self.full = self.moved >= self.held + max(0.0, now - self.since) * self.pace - HALF_BYTE
        return self.full or self.stopped

    def duty(self, width: float) -> float:
        """The part of the time in which it uses its AGCUs, of which each moves `width` bytes in a cycle."""
        return min(1.0, self.pace / (width * len(self.agcus))) if self.full and self.agcus else 1.0

    @property
    def stopped(self) -> bool:
        """Whether it moves nothing for the time being."""
        return self.ended or self.moved >= self.limit - HALF_BYTE


class _Timeline:
    """Time goes from event to event: something that was wanted has been moved, a store begins, a phase ends."""

    def __init__(self, phases: Sequence[PhaseTimes], machine: Machine) -> None:
        self.phases = phases
        self.machine = machine
        self.rates = [machine.tier_bytes_per_cycle(tier) for tier in range(len(machine.tiers))]
        self.now = self.end = self.began = 0.0
        self.moving: list[_Flow] = []
        self.unshared = False
        """Whether others move than when rates were last shared out."""
        self.due: list[tuple[float, int, _Flow]] = []
        self.orders = itertools.count()
        self.loads = [[_Flow(o.tier, o.agcus, [o.nbytes], held=o.held * o.nbytes) for o in p.loads] for p in phases]
        self.all_loads = [flow for flows in self.loads for flow in flows]
        self.stores: list[list[_Flow]] = []
        self.spans = [_spans(phase) for phase in phases]
        for number, phase in enumerate(phases):
            for stage, span in zip(phase.stages, self.spans[number]):
                for arrival in stage.arrivals:
                    self._read(self.all_loads[arrival.load], span, arrival, self.loads[number])

    def _read(self, flow: _Flow, span: float, arrival: Arrival, own: Sequence[_Flow]) -> None:
        """Let a load know who waits for it."""
        nbytes = flow.marks[-1]
        wanted = arrival.share * nbytes
        if wanted not in flow.marks:
            flow.marks = sorted((*flow.marks, wanted))
        if flow in own and flow.held < nbytes:
            flow.pace = min(flow.pace, nbytes / span)

    def run(self) -> float:
        """Go through the phases."""
        for index, phase in enumerate(self.phases):
            self._run_phase(index, phase)
        while self._step(NEVER):
            pass
        return max(self.now, self.end)

    def _run_phase(self, index: int, phase: PhaseTimes) -> None:
        self.began = self.now
        first = [NEVER] * len(phase.stages)
        last = list(first)
        stores = [self._store(store, self.spans[index]) for store in phase.stores]
        self.stores.append(stores)
        finished = NEVER
        while finished > self.now:
            self._open(index)
            self._settle(index, stores, first, last)
            finished = max((t + s.interval + s.fill for t, s in zip(last, phase.stages)), default=self.now)
            if not phase.stages and not all(flow.ended for flow in (*self.loads[index], *stores)):
                finished = NEVER
            if finished > self.now and not self._step(finished):
                break
        for store in phase.stores:
            if store.stage is not None:
                stage = phase.stages[store.stage]
                left = store.nbytes / store.transfers / self.rates[store.tier]
                self.end = max(self.end, last[store.stage] + stage.interval + stage.fill + left)

    def _store(self, store: StoreTimes, spans: Sequence[float]) -> _Flow:
        spare = max(1.0, (1 - store.held) * store.nbytes)
        flow = _Flow(store.tier, store.agcus, sorted({spare, store.nbytes}), limit=store.nbytes)
        if store.stage is not None and store.transfers > 1:
            flow.pace = store.nbytes / (spans[store.stage] * (1 - 1 / store.transfers))
            flow.held = store.nbytes / store.transfers
            flow.full = store.held < 1
        return flow

    def _open(self, index: int) -> None:
        """Begin the loads that may: those of this phase, and of the next once the whole ones of this are there."""
        ready = self._open_loads(index, started=True)
        if ready and index + 1 < len(self.phases):
            self._open_loads(index + 1, started=False)

    def _open_loads(self, index: int, *, started: bool) -> bool:
        """Begin loads of one phase; whether its whole ones are there."""
        pairs = list(zip(self.phases[index].loads, self.loads[index]))
        for load, flow in pairs:
            if load.whole and not flow.begun and self._may_begin(load, started):
                self._begin(flow, load.nbytes)
        if not all(flow.ended for load, flow in pairs if load.whole):
            return False
        for load, flow in pairs:
            if not load.whole and not flow.ended and self._may_begin(load, started):
                limit = load.nbytes if started else flow.held
                if flow.limit < limit:
                    self._begin(flow, limit)
        return True

    def _may_begin(self, load: LoadTimes, started: bool) -> bool:
        return (started or load.early) and all(self._stored(place) <= self.now for place in load.after)

    def _stored(self, place: Place) -> float:
        """When a store has ended."""
        phase, number = place
        flow = self.stores[phase][number]
        return flow.times[-1] if flow.ended else NEVER

    def _begin(self, flow: _Flow, limit: float) -> None:
        flow.begun = True
        flow.limit = limit
        if not flow.stopped and flow not in self.moving:
            self.moving.append(flow)
            self.unshared = True

    def _settle(self, index: int, stores: Sequence[_Flow], first: list[float], last: list[float]) -> None:
        """Find the first and last firings that follow from what has happened, and let stores begin."""
        phase = self.phases[index]
        for number, stage in enumerate(phase.stages):
            if first[number] == NEVER:
                first[number] = self._first(phase, stage, first)
                if first[number] < NEVER:
                    self._reading(stage, self.loads[index], first[number])
            if last[number] == NEVER and first[number] < NEVER:
                last[number] = self._last(index, number, stores, first, last)
        for store, flow in zip(phase.stores, stores):
            if not flow.begun:
                begin = self._store_begins(index, store, first, last)
                if begin < NEVER:
                    flow.begun = True
                    flow.since = begin
                    heapq.heappush(self.due, (max(begin, self.now), next(self.orders), flow))

    def _reading(self, stage: StageTimes, own: Sequence[_Flow], first: float) -> None:
        """Note that a stage reads its loads from its first firing on."""
        for arrival in stage.arrivals:
            flow = self.all_loads[arrival.load]
            if flow in own and (flow.since == NEVER or first > flow.since):
                flow.since = first

    def _store_begins(self, index: int, store: StoreTimes, first: Sequence[float], last: Sequence[float]) -> float:
        if store.stage is None:
            loads = (flow for flows in self.loads[: index + 1] for flow in flows)
            return self.now if all(flow.ended for flow in loads) else NEVER
        stage = self.phases[index].stages[store.stage]
        if store.transfers == 1:
            return last[store.stage] + stage.interval + stage.fill
        return first[store.stage] + store.first * stage.interval + stage.fill

    def _first(self, phase: PhaseTimes, stage: StageTimes, first: Sequence[float]) -> float:
        found = max([self.began, *map(self._stored, stage.after)])
        for source in stage.sources:
            other = phase.stages[source.stage]
            found = max(found, first[source.stage] + source.first * other.interval + other.fill)
        for arrival in stage.arrivals:
            flow = self.all_loads[arrival.load]
            found = max(found, flow.time_of(arrival.share * flow.marks[-1]))
        return found

    def _last(
        self, index: int, number: int, stores: Sequence[_Flow], first: Sequence[float], last: Sequence[float]
    ) -> float:
        phase = self.phases[index]
        stage = phase.stages[number]
        found = first[number] + self.spans[index][number] * (1 - 1 / stage.events)
        for source in stage.sources:
            other = phase.stages[source.stage]
            done = last[source.stage] + other.interval + other.fill
            found = max(found, done + source.behind * stage.interval)
        for arrival in stage.arrivals:
            flow = self.all_loads[arrival.load]
            found = max(found, flow.time_of(flow.marks[-1]) + arrival.behind * stage.interval)
        for store, flow in zip(phase.stores, stores):
            if store.stage == number and store.held < 1:
                found = max(found, flow.times[0] if flow.times else NEVER)
        return found

    def _step(self, until: float) -> bool:
        """Go on to the next event, or to `until`; False where nothing would happen any more."""
        if self.unshared:
            self._share_out()
        now = min((flow.next_event(self.now) for flow in self.moving), default=NEVER)
        if self.due:
            now = min(now, self.due[0][0])
        now = min(now, until)
        if now == NEVER:
            return False
        elapsed, self.now = max(0.0, now - self.now), max(now, self.now)
        changed = False
        for flow in self.moving:
            changed |= flow.move(self.now, elapsed)
        if changed:
            self.moving = [flow for flow in self.moving if not flow.stopped]
        while self.due and self.due[0][0] <= self.now:
            self.moving.append(heapq.heappop(self.due)[2])
            changed = True
        self.unshared |= changed
        return True

    def _share_out(self) -> None:
        """Each tier's rate in equal shares, as far as pace and AGCUs allow, which each serve all their flows equally;
        what a flow cannot use of its own goes to the others."""
        self.unshared = False
        width = self.machine.agcu_bytes_per_cycle
        users: dict[int, float] = {}
        duties = [flow.duty(width) for flow in self.moving]
        for flow, duty in zip(self.moving, duties):
            for agcu in flow.agcus:
                users[agcu] = users.get(agcu, 0.0) + duty
        for flow, duty in zip(self.moving, duties):
            flow.cap = flow.pace if flow.full else NEVER
            if flow.agcus:
                own = 1 - duty
                flow.cap = min(flow.cap, sum([width / (own + users[agcu]) for agcu in flow.agcus]))
        for tier, rate in enumerate(self.rates):
            flows = sorted((flow for flow in self.moving if flow.tier == tier), key=lambda flow: flow.cap)
            for position, flow in enumerate(flows):
                flow.rate = min(flow.cap, rate / (len(flows) - position))
                rate -= flow.rate
