"""What the compiler's cost model expects of a configuration: closed forms, where the simulator counts events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from backends.rdu.forecast import Arrival, LoadTimes, PhaseTimes, Place, Source, StageTimes, StoreTimes, section_cycles
from pef import pef_pb2 as pb
from pef.cycles import compute_cycles, fill_cycles
from pef.decoded import Access, Configuration, Phase, Stage, Stream
from pef.exchange import ONE, Replicas, exchange_cycles, exchange_latency_cycles, exchanged_bytes
from pef.machine import Machine
from pef.nest import WHOLE, Reader, Writer, axis_of, needed, sync_level
from pef.ports import PortLoad, input_bytes, output_bytes, phase_ports

HOPS = 16
"""Switches that a slice crosses between two units on the way through a buffer, as an order of magnitude."""


def predict_configuration(
    configuration: Configuration,
    tiers: Sequence[int],
    machine: Machine,
    replicas: Replicas = ONE,
    *,
    loaded: bool = False,
) -> pb.Prediction:
    """Cycles of one run of the configuration whose slots live in these memory tiers, and what bounds it: `loaded` where
    its program is there already."""
    record = pb.Prediction()
    exchange = 0.0
    moved = [0.0] * len(machine.tiers)
    for number, phase in enumerate(configuration.phases):
        exchange += _exchange_cycles(phase, replicas, machine)
        record.flops += sum(stage.events * stage.work.flops for stage in phase.stages)
        for stream in phase.streams:
            nbytes = configuration.transfer_bytes(number, stream) * configuration.transfers(number, stream)
            moved[tiers[stream.slot]] += nbytes
            if stream.store:
                record.dram_write_bytes += nbytes
            else:
                record.dram_read_bytes += nbytes
    times = _Times(configuration, tiers, machine, replicas).phases()
    record.cycles = math.ceil(section_cycles(times, machine))
    program_load_us = 0.0 if loaded else machine.program_load_us
    record.load_cycles = machine.cycles(program_load_us + machine.argument_load_us + machine.launch_us)
    compute = sum(max((stage.events * stage.interval for stage in phase.stages), default=0.0) for phase in times)
    memory = max(nbytes / machine.tier_bytes_per_cycle(tier) for tier, nbytes in enumerate(moved))
    limits = {"compute": compute, "dram": memory, "exchange": exchange, "load": record.load_cycles}
    record.bound = max(limits, key=lambda name: limits[name])
    return record


def _exchange_cycles(phase: Phase, replicas: Replicas, machine: Machine) -> float:
    """Cycles that the link to other replicas needs for what a phase sends, without its latency."""
    nbytes = sum(stage.events * exchanged_bytes(stage.body.tile_operations) for stage in phase.stages)
    return exchange_cycles(nbytes, replicas, machine) if nbytes else 0.0


class _Times:
    """A configuration as the forecast sees it."""

    def __init__(
        self, configuration: Configuration, tiers: Sequence[int], machine: Machine, replicas: Replicas
    ) -> None:
        self.configuration = configuration
        self.tiers = tiers
        self.machine = machine
        self.replicas = replicas
        loads = [
            (number, position)
            for number, phase in enumerate(configuration.phases)
            for position, stream in enumerate(phase.streams)
            if not stream.store
        ]
        self.number_of = {place: number for number, place in enumerate(loads)}
        self.stores = [[stream for stream in phase.streams if stream.store] for phase in configuration.phases]

    def phases(self) -> list[PhaseTimes]:
        """Every phase."""
        return [self._phase(number, phase) for number, phase in enumerate(self.configuration.phases)]

    def _phase(self, number: int, phase: Phase) -> PhaseTimes:
        ports, exchange = phase_ports(self.configuration, number), _exchange_cycles(phase, self.replicas, self.machine)
        reads: list[list[Access]] = [[] for _ in phase.stages]
        stored: dict[int, Access] = {}
        for read in self.configuration.reads:
            if read.phase == number and not read.is_index:
                if read.by_stream:
                    stored[read.actor[1]] = read
                else:
                    reads[read.actor[1]].append(read)
        stages = tuple(self._stage(number, stage, own, ports, exchange) for stage, own in zip(phase.stages, reads))
        loads = tuple(self._load(number, stream) for stream in phase.streams if not stream.store)
        stores = tuple(
            self._store(number, stream, stored[position])
            for position, stream in enumerate(phase.streams)
            if stream.store
        )
        return PhaseTimes(stages, loads, stores)

    def _stage(
        self, number: int, stage: Stage, reads: Sequence[Access], ports: PortLoad, exchange: float
    ) -> StageTimes:
        sources, arrivals = [], []
        after = self._emptied_for(port.buffer for port in stage.outputs)
        for read in reads:
            reader = self.configuration.reader(read)
            for write in self.configuration.writers[read.buffer]:
                writer = self.configuration.writer(write)
                if write.by_stream and write.phase < number:
                    arrivals.append(Arrival(self.number_of[write.phase, write.actor[1]], 1.0, reader.events - 1))
                elif write.by_stream and write.phase == number:
                    share = (needed(writer, reader, 0) + 1) / writer.events
                    load = self.number_of[number, write.actor[1]]
                    arrivals.append(Arrival(load, share, _behind(writer, reader)))
                elif write.phase == number and write.position < read.position:
                    buffer = self.configuration.buffers[read.buffer]
                    held = buffer.depth / buffer.slices
                    sources.append(Source(write.position, needed(writer, reader, 0) + 1, _behind(writer, reader), held))
        fill = fill_cycles(stage.work, stage.parallelism, self.machine) + 2 * HOPS * self.machine.hop_cycles
        cycles: float = _stage_cycles(stage, self.configuration, ports)
        if exchanged_bytes(stage.body.tile_operations):
            cycles = max(cycles, exchange / stage.events)
            fill += exchange_latency_cycles(self.replicas, self.machine)
        return StageTimes(stage.events, cycles, fill, tuple(sources), tuple(arrivals), after)

    def _load(self, number: int, stream: Stream) -> LoadTimes:
        nbytes, agcus = self._moved(number, stream)
        buffer = self.configuration.buffers[stream.buffer]
        held = buffer.depth / self.configuration.transfers(number, stream) if buffer.is_ring else 1.0
        accesses = (*self.configuration.readers[stream.buffer], *self.configuration.writers[stream.buffer])
        lifetimes = self.configuration.lifetimes
        in_use = any(lifetimes[other][1] == number - 1 for other in self.configuration.replaced[stream.buffer])
        in_use |= any(access.phase < number for access in accesses)
        early = not in_use and not self._index_made_before(number, stream)
        after = self._emptied_for([stream.buffer])
        return LoadTimes(nbytes, self.tiers[stream.slot], agcus, min(1.0, held), stream.is_whole, early, after)

    def _emptied_for(self, buffers: Iterable[int]) -> tuple[Place, ...]:
        """The stores that empty the buffers whose place these take."""
        emptied = {other for buffer in buffers for other in self.configuration.replaced[buffer]}
        if not emptied:
            return ()
        return tuple(
            (phase, position)
            for phase, streams in enumerate(self.stores)
            for position, stream in enumerate(streams)
            if stream.buffer in emptied
        )

    def _index_made_before(self, number: int, stream: Stream) -> bool:
        """Whether stages of an earlier phase make the index that a load goes by."""
        if stream.pick is None:
            return False
        writes = self.configuration.writers[stream.record.index.buffer]
        return any(write.phase < number and not write.by_stream for write in writes)

    def _store(self, number: int, stream: Stream, read: Access) -> StoreTimes:
        nbytes, agcus = self._moved(number, stream)
        buffer, transfers = self.configuration.buffers[stream.buffer], self.configuration.transfers(number, stream)
        tier, held = self.tiers[stream.slot], min(1.0, buffer.depth / buffer.slices)
        reader = self.configuration.reader(read)
        for write in self.configuration.writers[stream.buffer]:
            if write.phase == number and not write.by_stream:
                first = needed(self.configuration.writer(write), reader, 0) + 1
                return StoreTimes(nbytes, tier, agcus, write.position, first, transfers, held)
        return StoreTimes(nbytes, tier, agcus, None, 0, transfers, 1.0)

    def _moved(self, number: int, stream: Stream) -> tuple[int, tuple[int, ...]]:
        """Bytes in all, and the AGCUs."""
        nbytes = self.configuration.transfer_bytes(number, stream) * self.configuration.transfers(number, stream)
        return nbytes, tuple(stream.record.agcus)


def _behind(writer: Writer, reader: Reader) -> int:
    """The reader's events after the first that waits for the writer's last."""
    if not writer.resident_load:
        return reader.events // reader.nest.events(sync_level(writer, reader)) - 1
    event = 0
    for loop in range(reader.level):
        own = axis_of(reader.slicing, loop)
        known = own != WHOLE and axis_of(writer.slicing, loop) == own
        event = event * reader.nest.counts[loop] + (reader.nest.counts[loop] - 1 if known else 0)
    return reader.events - 1 - event


def _stage_cycles(stage: Stage, configuration: Configuration, ports: PortLoad) -> int:
    """Cycles per firing: of its PCUs, or of the ports of the PMUs it reads and writes if they are slower."""
    machine, buffers = configuration.machine, configuration.buffers
    slowest = compute_cycles(stage.work, stage.parallelism, machine)
    for port in stage.inputs:
        sent = input_bytes(stage, port, machine)
        slowest = max(slowest, ports.cycles(buffers[port.buffer].units, sent, stage.events, write=False))
    for port in stage.outputs:
        sent = output_bytes(stage, port)
        slowest = max(slowest, ports.cycles(buffers[port.buffer].units, sent, stage.events, write=True))
    return slowest
