"""From a configuration to actors and constraints: who waits for whom, and how long everything takes.

Marks: `start[p]` is the barrier before phase p (start[P] follows the last phase): every stage of phase p - 1 has
delivered its last tile. `ready[p]` is when phase p executes: its barrier is passed and its whole loads are complete;
the whole loads of phase p + 1 begin then. Those of phase 0 begin at the start of the section.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.codec import parallelism, stage_work
from pef.cycles import Parallelism, StageWork, compute_cycles, fill_cycles
from pef.exchange import Replicas, exchange_latency_cycles, exchanged_bytes, phase_exchange_cycles
from pef.machine import Machine
from runtime.timing.actors import Actor, Cause, Mark, StageActor, StreamActor
from runtime.timing.memory_model import Client, Limit
from runtime.timing.network import Channel, Network
from runtime.timing.ports import PortLoad, input_bytes, output_bytes, phase_ports
from runtime.timing.shapes import transfer_bytes

WHOLE = -1
"""Axis of a port or stream that moves a whole tensor."""


@dataclass(slots=True)
class Access:
    """One actor's use of a buffer: `hop_cycles` from its event to the data being there, or from there to it."""

    actor: StageActor | StreamActor
    axis: int
    hop_cycles: int


@dataclass(slots=True)
class PhaseActors:
    """The actors of one phase, and who writes and reads each buffer, in dataflow order.

    exchange_cycles: what the link to other replicas needs per tile, for all stages that exchange.
    """

    start: Mark
    ready: Mark
    ports: PortLoad
    works: list[tuple[StageWork, Parallelism]]
    exchange_cycles: int
    stages: list[StageActor] = field(default_factory=list)
    streams: list[StreamActor] = field(default_factory=list)
    writers: dict[int, list[Access]] = field(default_factory=lambda: defaultdict(list))
    readers: dict[int, list[Access]] = field(default_factory=lambda: defaultdict(list))


class Pipeline:
    """The actors of a configuration, and the streams as clients of device memory."""

    def __init__(
        self, configuration: pb.Configuration, tiers: Sequence[int], machine: Machine, replicas: Replicas
    ) -> None:
        self.configuration = configuration
        self.machine = machine
        self.replicas = replicas
        self.network = Network(configuration, machine)
        self.clients: list[Client] = []
        self._tiers = tiers
        self._buffers = configuration.buffers
        self.phases = [self._phase(index, phase) for index, phase in enumerate(configuration.phases)]
        self.end = Mark(len(self.phases), 0, 1, 0)
        for index in range(len(self.phases)):
            self._order(index)
            self._connect(index)

    @property
    def actors(self) -> list[Actor]:
        """Every actor, phase by phase."""
        by_phase = [[p.start, p.ready, *p.streams, *p.stages] for p in self.phases]
        return [actor for group in by_phase for actor in group] + [self.end]

    def _phase(self, index: int, phase: pb.Phase) -> PhaseActors:
        works = [(stage_work(stage), parallelism(stage)) for stage in phase.stages]
        ports = phase_ports(self.configuration, phase, works, self.machine)
        exchange = phase_exchange_cycles(phase, self.replicas, self.machine)
        group = PhaseActors(Mark(index, 0, 1, 0), Mark(index, 0, 1, 0), ports, works, exchange)
        for position, stream in enumerate(phase.streams):
            actor = self._stream(group, index, position, stream)
            access = Access(actor, stream.axis, actor.hop_cycles)
            (group.readers if stream.store else group.writers)[stream.buffer].append(access)
            group.streams.append(actor)
        for position, stage in enumerate(phase.stages):
            self._stage(group, index, position, stage)
        return group

    def _stage(self, group: PhaseActors, index: int, position: int, stage: pb.Stage) -> None:
        phase = self.configuration.phases[index]
        work, parallel = group.works[position]
        reads = [self._channel(index, position, stage, pb.Net.READ, port) for port in range(len(stage.inputs))]
        writes = [self._channel(index, position, stage, pb.Net.WRITE, port) for port in range(len(stage.outputs))]
        chains = Channel(index, "stage", position, pb.Net.CHAIN, 0)
        used = [*reads, *writes, *([chains] if self.network.has(chains) else [])]
        compute = compute_cycles(work, parallel, self.machine)
        port = max((self._port_cycles(group, stage, work, parallel)), default=0)
        network = max((self.network.tile_cycles(channel) for channel in used), default=0)
        exchange = group.exchange_cycles if exchanged_bytes(stage) else 0
        chain = self.network.chain_cycles(index, position, stage.units, max(1, stage.chain))
        actor = StageActor(
            index,
            position,
            phase.tiles,
            max(compute, port, network, exchange),
            compute_cycles=compute,
            port_cycles=port,
            network_cycles=network,
            exchange_cycles=exchange,
            fill_cycles=fill_cycles(work, parallel, self.machine) + chain,
            read_cycles=tuple(self.network.hop_cycles(channel) for channel in reads),
            write_cycles=tuple(self.network.hop_cycles(channel) for channel in writes),
        )
        for port_record, hop in zip(stage.inputs, actor.read_cycles):
            group.readers[port_record.buffer].append(Access(actor, port_record.axis, hop))
        for port_record, hop in zip(stage.outputs, actor.write_cycles):
            group.writers[port_record.buffer].append(Access(actor, port_record.axis, hop))
        group.stages.append(actor)

    def _channel(self, phase: int, position: int, stage: pb.Stage, kind: pb.Net.Kind, port: int) -> Channel:
        channel = Channel(phase, "stage", position, kind, port)
        if not self.network.has(channel):
            side = "input" if kind == pb.Net.READ else "output"
            raise IllegalPefError(f"stage {stage.name!r}: no net carries its {side} {port}")
        return channel

    def _port_cycles(self, group: PhaseActors, stage: pb.Stage, work: StageWork, parallel: Parallelism) -> list[int]:
        """Cycles per tile that the buffer behind each port of the stage needs."""
        buffers = self._buffers
        reads = [
            group.ports.cycles(
                buffers[port.buffer].units, input_bytes(stage, port, work, parallel, self.machine), write=False
            )
            for port in stage.inputs
        ]
        writes = [
            group.ports.cycles(buffers[port.buffer].units, output_bytes(stage, port), write=True)
            for port in stage.outputs
        ]
        return reads + writes

    def _stream(self, group: PhaseActors, index: int, position: int, stream: pb.Stream) -> StreamActor:
        phase = self.configuration.phases[index]
        channel = Channel(index, "stream", position, pb.Net.STORE if stream.store else pb.Net.LOAD, 0)
        if not self.network.has(channel) or not stream.agcus:
            name = self._buffers[stream.buffer].name
            raise IllegalPefError(f"buffer {name!r}: no {'AGCU' if self.network.has(channel) else 'net'} moves it")
        whole = stream.axis < 0
        size = transfer_bytes(self.configuration, phase, stream)
        actor = StreamActor(
            index,
            position,
            1 if whole else phase.tiles,
            0,
            client=len(self.clients),
            store=stream.store,
            whole=whole,
            size_bytes=size,
            hop_cycles=self.network.hop_cycles(channel),
        )
        rate, limit = self._route_rate(group, channel, stream, size)
        tier = self._tiers[stream.slot]
        self.clients.append(Client(tier, stream.store, tuple(stream.agcus), rate, limit))
        return actor

    def _route_rate(self, group: PhaseActors, channel: Channel, stream: pb.Stream, size: int) -> tuple[float, Limit]:
        """The most bytes per cycle that the stream's nets and its buffer's ports let through, and which decides."""
        units = self._buffers[stream.buffer].units
        if stream.axis < 0:
            links = self.network.transfer_cycles(channel)
            ports = -(-size // (len(units) * self.machine.pmu_port_bytes_per_cycle))
        else:
            links = self.network.tile_cycles(channel)
            ports = group.ports.cycles(units, size, write=not stream.store)
        return size / max(1, links, ports), Limit.NETWORK if links >= ports else Limit.PORT

    def _order(self, index: int) -> None:
        """Barriers, and the earliest start of every actor of the phase."""
        group = self.phases[index]
        following = self.phases[index + 1].start if index + 1 < len(self.phases) else self.end
        following.await_end(group.start, 0)
        group.ready.await_end(group.start, 0)
        for stage in group.stages:
            stage.await_end(group.start, self._exchange_latency(stage))
            following.await_end(stage, stage.finish_cycles)
        for stream in group.streams:
            if stream.whole and not stream.store:
                group.ready.await_end(stream, stream.hop_cycles)
            self._order_stream(index, stream)
            if not group.stages:
                following.await_end(stream, stream.hop_cycles)

    def _exchange_latency(self, stage: StageActor) -> int:
        """Cycles until the first tile has been around the ring of replicas; the others follow close behind."""
        exchanges = exchanged_bytes(self.configuration.phases[stage.phase].stages[stage.index])
        return exchange_latency_cycles(self.replicas, self.machine) if exchanges else 0

    def _order_stream(self, index: int, stream: StreamActor) -> None:
        """Whole loads begin one phase early, unless their buffer is still in use there; all else with its phase.

        A load waits for earlier phases' stores to the same slot.
        """
        record = self.configuration.phases[index].streams[stream.index]
        earlier = self.phases[:index]
        in_use = any(record.buffer in p.readers or record.buffer in p.writers for p in earlier)
        if stream.store or not stream.whole or in_use:
            stream.await_end(self.phases[index].start, 0)
        elif index > 0:
            stream.await_end(self.phases[index - 1].ready, 0)
        if stream.store:
            return
        for number, group in enumerate(earlier):
            for other in group.streams:
                slot = self.configuration.phases[number].streams[other.index].slot
                if other.store and slot == record.slot:
                    stream.await_end(other, 0)

    def _connect(self, index: int) -> None:
        """Data dependences and ring slots, buffer by buffer."""
        group = self.phases[index]
        for buffer in sorted(group.readers.keys() | group.writers.keys()):
            writers, readers = group.writers[buffer], group.readers[buffer]
            for reader in readers:
                sources = [w for w in writers if _precedes(w.actor, reader.actor)]
                for writer in sources:
                    _follow(writer, reader)
                self._await_earlier(index, buffer, reader, loads_only=True)
            for writer in writers:
                self._reserve(buffer, writer, [r for r in readers if _precedes(writer.actor, r.actor)])
                self._await_earlier(index, buffer, writer, loads_only=False)

    def _await_earlier(self, index: int, buffer: int, access: Access, loads_only: bool) -> None:
        """Wait for transfers of earlier phases: a reader for loads of the buffer, a writer for stores of it."""
        for group in self.phases[:index]:
            if loads_only:
                for writer in group.writers.get(buffer, ()):
                    if isinstance(writer.actor, StreamActor):
                        access.actor.await_end(writer.actor, writer.hop_cycles + access.hop_cycles)
            else:
                for reader in group.readers.get(buffer, ()):
                    if isinstance(reader.actor, StreamActor):
                        access.actor.await_end(reader.actor, 0)

    def _reserve(self, buffer: int, writer: Access, readers: Sequence[Access]) -> None:
        """A ring of `depth` tiles: tile t may be written once every reader has finished with tile t - depth."""
        record = self._buffers[buffer]
        if record.depth >= record.tiles or writer.axis < 0:
            return
        for reader in readers:
            is_store = isinstance(reader.actor, StreamActor)
            cause = Cause.DRAM if is_store else Cause.OUTPUT
            writer.actor.follow(reader.actor, record.depth, reader.actor.release, cause)


def _follow(writer: Access, reader: Access) -> None:
    """The reader needs the writer's data: tile by tile where both stream, else all of it."""
    source, target = writer.actor, reader.actor
    if isinstance(source, StageActor):
        offset = source.release + source.fill_cycles + writer.hop_cycles + reader.hop_cycles
    else:
        offset = writer.hop_cycles + reader.hop_cycles
    if writer.axis >= 0 and reader.axis >= 0:
        target.follow(source, 0, offset, Cause.INPUT if isinstance(source, StageActor) else Cause.DRAM)
    else:
        target.await_end(source, offset)


def _precedes(first: Actor, second: Actor) -> bool:
    """Whether `first` comes before `second` in dataflow order: loads, then stages as listed, then stores."""

    def position(actor: Actor) -> tuple[int, int]:
        if isinstance(actor, StreamActor):
            return (2, 0) if actor.store else (0, 0)
        return (1, actor.index)

    return position(first) < position(second)
