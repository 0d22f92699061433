"""What acts in a section: stages, streams, and the marks between phases, with the constraints on their times.

Every actor has a number of events and their times. For a stage `times[e]` is when firing e begins, for a stream when
transfer e ends, for a mark when it is passed (one event). A constraint says for each event which event of its source
comes at least `offset` cycles before; a gate says "nothing before the last event of `source` plus `offset`". That is
all the simulation knows: loop nests, rings, barriers and prefetching are constraints like any other.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from runtime.timing.memory_model import Limit

FREE_RUNNING = -1
"""Entry of `bindings` for an event that only its own predecessor, or the start, held back."""


class Cause(Enum):
    """Why a stage waits."""

    INPUT = "input"
    OUTPUT = "output"
    DRAM = "dram"


Wait = tuple[Sequence[int], "Actor", Sequence[float], int, int]
"""A constraint as the event loop reads it: its events, its source, the times of that, its offset and its index."""


@dataclass(slots=True, eq=False)
class Constraint:
    """Event e of the holder waits for event `events[e]` of `source`, or for none where that is negative."""

    source: Actor
    events: Sequence[int]
    offset: int
    cause: Cause


@dataclass(slots=True, eq=False)
class Gate:
    """No event of the holder before the last event of `source`, plus `offset` cycles."""

    source: Actor
    offset: int


@dataclass(slots=True, eq=False)
class Actor:
    """One actor of one phase. `release` is how long after an event it has finished reading for it, in cycles.

    count: the events that have happened, of which `times` has the times and `bindings` the index of the constraint
    that decided each, or FREE_RUNNING. waiting: actors to be told once so many events have happened. base_gate is the
    gate that decided `base`, the earliest time of any event, where there are gates.
    """

    phase: int
    index: int
    events: int
    release: int
    constraints: list[Constraint] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    waiting: list[tuple[int, Actor]] = field(default_factory=list)
    count: int = 0
    times: array[float] = field(init=False)
    bindings: array[int] = field(init=False)
    base: float | None = None
    base_gate: Gate | None = None

    def __post_init__(self) -> None:
        self.times = array("d", bytes(8 * self.events))
        self.bindings = array("i", [FREE_RUNNING]) * self.events

    @property
    def done(self) -> bool:
        """Whether all its events have happened."""
        return self.count == self.events

    @property
    def end(self) -> float:
        """When its last event happens."""
        return self.times[self.events - 1]

    def follow(self, source: Actor, events: Sequence[int], offset: int, cause: Cause) -> None:
        """Add a constraint."""
        self.waits.append((events, source, source.times, offset, len(self.constraints)))
        self.constraints.append(Constraint(source, events, offset, cause))

    def await_end(self, source: Actor, offset: int) -> None:
        """Add a gate."""
        self.gates.append(Gate(source, offset))

    def settle_base(self) -> bool:
        """Work out `base`; whether it is known. If not, the actor waits for one of its gates."""
        if self.base is not None:
            return True
        for gate in self.gates:
            if not gate.source.done:
                gate.source.waiting.append((gate.source.events, self))
                return False
        self.base = 0
        for gate in self.gates:
            time = gate.source.end + gate.offset
            if time > self.base:
                self.base, self.base_gate = time, gate
        return True

    def told(self) -> list[Actor]:
        """Those that waited for what has happened; they wait no longer."""
        count, waiting = self.count, self.waiting
        found = [waiter for wanted, waiter in waiting if wanted <= count]
        if found:
            self.waiting = [entry for entry in waiting if entry[0] > count]
        return found


@dataclass(slots=True, eq=False)
class Mark(Actor):
    """A moment between phases: takes no time, happens when its gates are open."""


@dataclass(slots=True, eq=False)
class StageActor(Actor):
    """A stage. All in cycles per firing; `release` is its interval, the longest of the four.

    compute_cycles: its PCUs; port_cycles: the PMU ports of its buffers; network_cycles: the links of its nets;
    exchange_cycles: the link to other replicas; fill_cycles: from the end of a firing's interval to its last result
    leaving the PCUs; write_cycles: hop latency of each output port, in their order.
    """

    compute_cycles: int = 1
    port_cycles: int = 0
    network_cycles: int = 0
    exchange_cycles: int = 0
    fill_cycles: int = 0
    read_cycles: tuple[int, ...] = ()
    write_cycles: tuple[int, ...] = ()

    @property
    def finish_cycles(self) -> int:
        """From a firing to its results being in every output buffer."""
        return self.release + self.fill_cycles + max(self.write_cycles, default=0)

    @property
    def port_slowdown(self) -> int:
        """Cycles per firing that the ports add to the computation."""
        return max(self.compute_cycles, self.port_cycles) - self.compute_cycles

    @property
    def network_slowdown(self) -> int:
        """Cycles per firing that the links add on top."""
        inside = self.compute_cycles + self.port_slowdown
        return max(inside, self.network_cycles) - inside

    @property
    def exchange_slowdown(self) -> int:
        """Cycles per firing that the exchange with other replicas adds on top."""
        return self.release - self.compute_cycles - self.port_slowdown - self.network_slowdown


@dataclass(slots=True, eq=False)
class StreamActor(Actor):
    """A stream of transfers between device memory and a buffer; its number there is `client`.

    hop_cycles: between its AGCUs and the buffer; index_cycles: from the index to its AGCUs, where it goes by one.
    """

    client: int = 0
    store: bool = False
    whole: bool = False
    size_bytes: int = 0
    hop_cycles: int = 0
    index_cycles: int = 0
    begins: list[float] = field(default_factory=list)
    spent: list[dict[Limit, float]] = field(default_factory=list)
    requested: int = 0
