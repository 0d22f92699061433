"""What acts in a section: stages, streams, and the marks between phases, with the constraints on their times.

Every actor has a list of times. For a stage `times[t]` is when it fires for tile t, for a stream when transfer t ends,
for a mark when it is passed (one entry). A constraint says "my event t no earlier than event t - lag of `source` plus
`offset` cycles"; a gate says "nothing before the last event of `source` plus `offset`". That is all the simulation
knows: rings, barriers and prefetching are constraints like any other.
"""

from __future__ import annotations

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


@dataclass(slots=True)
class Constraint:
    """Event t of the holder waits for event t - lag of `source`, plus `offset` cycles."""

    source: Actor
    lag: int
    offset: int
    cause: Cause


@dataclass(slots=True)
class Gate:
    """No event of the holder before the last event of `source`, plus `offset` cycles."""

    source: Actor
    offset: int


@dataclass(slots=True, eq=False)
class Actor:
    """One actor of one phase. `release` is how long after its event t it has finished reading tile t, in cycles.

    dependents have constraints on its events, successors have a gate that opens when all of them have happened.
    bindings[t] is the index of the constraint that decided event t, or FREE_RUNNING; base_gate is the gate that
    decided `base`, the earliest time of any event, where there are gates.
    """

    phase: int
    index: int
    events: int
    release: int
    constraints: list[Constraint] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    dependents: list[Actor] = field(default_factory=list)
    successors: list[Actor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    bindings: list[int] = field(default_factory=list)
    base: float | None = None
    base_gate: Gate | None = None

    @property
    def done(self) -> bool:
        """Whether all its events have happened."""
        return len(self.times) == self.events

    def follow(self, source: Actor, lag: int, offset: int, cause: Cause) -> None:
        """Add a constraint."""
        self.constraints.append(Constraint(source, lag, offset, cause))
        if self not in source.dependents:
            source.dependents.append(self)

    def await_end(self, source: Actor, offset: int) -> None:
        """Add a gate."""
        self.gates.append(Gate(source, offset))
        if self not in source.successors:
            source.successors.append(self)

    def affected(self) -> list[Actor]:
        """Whose events may follow from this actor's latest."""
        return self.dependents + self.successors if self.done else self.dependents

    def settle_base(self) -> bool:
        """Work out `base` once every gate's source is done; whether it is known."""
        if self.base is None:
            if not all(gate.source.done for gate in self.gates):
                return False
            self.base = 0
            for gate in self.gates:
                time = gate.source.times[-1] + gate.offset
                if time > self.base:
                    self.base, self.base_gate = time, gate
        return True

    def earliest(self, event: int, own: float) -> tuple[float, int] | None:
        """The time of `event` and the constraint that decides it, given `own`, the bound from the actor itself.

        None while something it depends on has not happened.
        """
        time, binding = own, FREE_RUNNING
        for index, constraint in enumerate(self.constraints):
            wanted = event - constraint.lag
            if wanted < 0:
                continue
            times = constraint.source.times
            if wanted >= len(times):
                return None
            bound = times[wanted] + constraint.offset
            if bound > time:
                time, binding = bound, index
        return time, binding


@dataclass(slots=True, eq=False)
class Mark(Actor):
    """A moment between phases: takes no time, happens when its gates are open."""


@dataclass(slots=True, eq=False)
class StageActor(Actor):
    """A stage. All in cycles per tile; `release` is its interval, the longest of the four.

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
        """Cycles per tile that the ports add to the computation."""
        return max(self.compute_cycles, self.port_cycles) - self.compute_cycles

    @property
    def network_slowdown(self) -> int:
        """Cycles per tile that the links add on top."""
        inside = self.compute_cycles + self.port_slowdown
        return max(inside, self.network_cycles) - inside

    @property
    def exchange_slowdown(self) -> int:
        """Cycles per tile that the exchange with other replicas adds on top."""
        return self.release - self.compute_cycles - self.port_slowdown - self.network_slowdown


@dataclass(slots=True, eq=False)
class StreamActor(Actor):
    """A stream of transfers between device memory and a buffer; its number there is `client`."""

    client: int = 0
    store: bool = False
    whole: bool = False
    size_bytes: int = 0
    hop_cycles: int = 0
    begins: list[float] = field(default_factory=list)
    spent: list[dict[Limit, float]] = field(default_factory=list)
    requested: int = 0
