"""What a timing simulation reports. Times are cycles of the fabric clock; `Report.us` converts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ir.location import Location
from pef.cycles import Parallelism
from pef.exchange import ONE, Replicas
from pef.machine import Machine
from runtime.timing.memory_model import Limit, TrafficSample


class Bound(Enum):
    """Where the time of a section goes; the value completes the sentence "the section is bound by ..."."""

    COMPUTE = "compute"
    PORT = "PMU ports"
    NETWORK = "network"
    EXCHANGE = "exchange between replicas"
    DRAM = "DRAM"
    AGCU = "AGCU"
    FILL = "pipeline fill"
    LOAD = "load and launch"


@dataclass(frozen=True, slots=True)
class StageTime:
    """Where one stage's share of its phase goes, in cycles: `total` is the phase's duration.

    compute, port, network, exchange: firing, and how much PMU ports, links and the exchange with other replicas
    lengthen it. input, output, dram: waiting for an upstream stage, for space downstream, for device memory (either
    way). fill: before the first firing; drain: from the end of the last firing to the end of the phase.
    """

    compute: float
    port: float
    network: float
    exchange: float
    input: float
    output: float
    dram: float
    fill: float
    drain: float

    @property
    def total(self) -> float:
        """The phase's duration."""
        return self.busy + self.input + self.output + self.dram + self.fill + self.drain

    @property
    def busy(self) -> float:
        """Cycles in which the stage is firing."""
        return self.compute + self.port + self.network + self.exchange


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage: it fires once per iteration of the outer `level` loops, of the counts `loops`: `events` times.

    `starts[e]` is when firing e begins, for `interval_cycles`; latency_cycles is what a firing takes until its results
    are in the farthest output buffer.
    operations are the positions of its operators among all of the configuration's, as section locations count; pmus
    counts the PMUs of the buffers it writes.
    """

    name: str
    operators: tuple[str, ...]
    operations: range
    parallelism: Parallelism
    level: int
    loops: tuple[int, ...]
    events: int
    compute_cycles: int
    port_cycles: int
    network_cycles: int
    exchange_cycles: int
    interval_cycles: int
    latency_cycles: int
    starts: Sequence[float]
    time: StageTime
    flops: int
    pmus: int


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One stream: transfer t runs from `begins[t]` to `ends[t]` and moves `transfer_bytes`.

    limits: cycles by what set the rate, over all transfers.
    """

    buffer: str
    slot: int
    store: bool
    whole: bool
    tier: int
    agcus: tuple[int, ...]
    transfer_bytes: int
    begins: Sequence[float]
    ends: Sequence[float]
    limits: Mapping[Limit, float]

    @property
    def total_bytes(self) -> int:
        """Bytes of device memory read or written."""
        return self.transfer_bytes * len(self.ends)


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """One phase along a nest of `loops`: from its barrier at `start` to its last stage's last result at `end`."""

    loops: tuple[int, ...]
    start: float
    end: float
    stages: tuple[StageReport, ...]
    streams: tuple[StreamReport, ...]


@dataclass(frozen=True, slots=True)
class Units:
    """Use of one kind of unit: how many there are and are allocated, and unit-cycles in which they did work."""

    machine: int
    allocated: int
    busy_cycles: float
    exec_cycles: float

    @property
    def utilisation(self) -> float:
        """Busy share of all working units of the machine."""
        return self._share(self.machine)

    @property
    def allocated_utilisation(self) -> float:
        """Busy share of the units that the section allocates."""
        return self._share(self.allocated)

    def _share(self, units: int) -> float:
        total = units * self.exec_cycles
        return self.busy_cycles / total if total else 0.0


@dataclass(frozen=True, slots=True)
class PathStep:
    """A stretch of the critical path that one stage or stream of a phase accounts for, ending at `end`.

    kind: `stage`, `stream`, or empty for the moment between phases; index: which of the phase's; spent: cycles by what
    they were spent on.
    """

    phase: int
    kind: str
    index: int
    end: float
    spent: Mapping[Bound, float]

    @property
    def cycles(self) -> float:
        """All of the stretch."""
        return sum(self.spent.values())


@dataclass(frozen=True, slots=True)
class Execution:
    """One configuration running once with its symbols in given memory tiers; time 0 is the end of argument load.

    path: cycles along the chain of events that decides when the section ends, by what they were spent on; they add
    up to `cycles`. steps: the same chain, stretch by stretch in order of time. traffic: device memory rates over time.
    """

    cycles: float
    phases: tuple[PhaseReport, ...]
    path: Mapping[Bound, float]
    steps: tuple[PathStep, ...]
    pcu: Units
    pmu: Units
    flops: int
    read_bytes: tuple[int, ...]
    write_bytes: tuple[int, ...]
    traffic: Sequence[TrafficSample]


@dataclass(frozen=True, slots=True)
class SectionReport:
    """One section of the step. `start` is when its launch begins, counted from the start of the report.

    symbols: name of the symbol in each slot; locations: the user's source line of each operator.
    """

    index: int
    kind: str
    name: str
    configuration: int
    start: float
    launch_cycles: float
    program_load_cycles: float
    argument_load_cycles: float
    execution: Execution
    symbols: tuple[str, ...]
    locations: tuple[Location, ...]

    @property
    def load_cycles(self) -> float:
        """Launch, program load and argument load."""
        return self.launch_cycles + self.program_load_cycles + self.argument_load_cycles

    @property
    def cycles(self) -> float:
        """Everything."""
        return self.load_cycles + self.execution.cycles

    @property
    def exec_start(self) -> float:
        """When execution begins, counted from the start of the report."""
        return self.start + self.load_cycles

    @property
    def bound(self) -> Bound:
        """What most of the section's time is spent on."""
        return max({**self.execution.path, Bound.LOAD: self.load_cycles}.items(), key=lambda item: item[1])[0]


@dataclass(frozen=True, slots=True)
class Report:
    """Simulated time of a sequence of sections on one of `replicas`."""

    name: str
    machine: Machine
    sections: tuple[SectionReport, ...]
    replicas: Replicas = ONE

    @property
    def cycles(self) -> float:
        """Everything, from the first launch to the last store."""
        return sum(section.cycles for section in self.sections)

    def us(self, cycles: float) -> float:
        """Microseconds that `cycles` take."""
        return cycles / (self.machine.clock_ghz * 1e3)

    def ns(self, cycles: float) -> float:
        """Nanoseconds that `cycles` take."""
        return cycles / self.machine.clock_ghz
