"""From a configuration to actors and constraints: who waits for whom, and how long everything takes.

Marks: `start[p]` is the barrier before phase p (start[P] follows the last phase): every stage of phase p - 1 has
delivered its last result. `ready[p]` is when phase p executes: its barrier is passed and its whole loads are complete;
the loads of phase p + 1 begin then, the streamed ones as far as their buffers hold. Those of phase 0 begin at the start
of the section.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.cycles import compute_cycles, fill_cycles
from pef.decoded import Access, Configuration, Stage, Stream
from pef.exchange import Replicas, exchange_cycles, exchange_latency_cycles, exchanged_bytes
from pef.nest import sync_level
from pef.ports import PortLoad, input_bytes, output_bytes, phase_ports
from pef.waits import frees, needs
from runtime.timing.actors import Actor, Cause, Mark, StageActor, StreamActor
from runtime.timing.memory_model import Client, Limit
from runtime.timing.network import Channel, Network
from runtime.timing.sources import resident_sources, sources


@dataclass(frozen=True, slots=True)
class Use:
    """One actor's use of a buffer: `hop_cycles` from its event to the data being there, or from there to it."""

    access: Access
    actor: StageActor | StreamActor
    hop_cycles: int


@dataclass(slots=True)
class PhaseActors:
    """The actors of one phase, and who writes and reads each buffer, in dataflow order."""

    start: Mark
    ready: Mark
    ports: PortLoad
    stages: list[StageActor] = field(default_factory=list)
    streams: list[StreamActor] = field(default_factory=list)
    writers: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))
    readers: dict[int, list[Use]] = field(default_factory=lambda: defaultdict(list))


class Pipeline:
    """The actors of a configuration, and the streams as clients of device memory.

    tiers: the memory tier of each slot's symbol; symbols: a number for each slot's symbol, equal for the same symbol.
    """

    def __init__(
        self, configuration: Configuration, tiers: Sequence[int], symbols: Sequence[int], replicas: Replicas
    ) -> None:
        self.configuration = configuration
        self.machine = configuration.machine
        self.replicas = replicas
        self.network = Network(configuration)
        self.clients: list[Client] = []
        self._tiers = tiers
        self._symbols = symbols
        self.phases = [self._phase(index) for index in range(len(configuration.phases))]
        self.end = Mark(len(self.phases), 0, 1, 0)
        for index in range(len(self.phases)):
            self._order(index)
            self._connect(index)

    @property
    def actors(self) -> list[Actor]:
        """Every actor, phase by phase."""
        by_phase = [[p.start, p.ready, *p.streams, *p.stages] for p in self.phases]
        return [actor for group in by_phase for actor in group] + [self.end]

    def _phase(self, index: int) -> PhaseActors:
        phase = self.configuration.phases[index]
        group = PhaseActors(Mark(index, 0, 1, 0), Mark(index, 0, 1, 0), phase_ports(self.configuration, index))
        for position, stream in enumerate(phase.streams):
            group.streams.append(self._stream(group, index, position, stream))
        for position, stage in enumerate(phase.stages):
            group.stages.append(self._stage(group, index, position, stage))
        uses = ((group.writers, self.configuration.writes), (group.readers, self.configuration.reads))
        for users, accesses in uses:
            ports: dict[int, int] = defaultdict(int)
            for access in (access for access in accesses if access.phase == index):
                kind, position = access.actor
                actor: StageActor | StreamActor
                if kind == "stream":
                    actor = group.streams[position]
                    hop = actor.index_cycles if access.is_index else actor.hop_cycles
                else:
                    actor = group.stages[position]
                    hops = actor.write_cycles if users is group.writers else actor.read_cycles
                    hop = hops[ports[position]]
                    ports[position] += 1
                users[access.buffer].append(Use(access, actor, hop))
        return group

    def _stage(self, group: PhaseActors, index: int, position: int, stage: Stage) -> StageActor:
        reads = [self._channel(index, position, stage, pb.Net.READ, port) for port in range(len(stage.inputs))]
        writes = [self._channel(index, position, stage, pb.Net.WRITE, port) for port in range(len(stage.outputs))]
        chains = Channel(index, "stage", position, pb.Net.CHAIN, 0)
        used = [*reads, *writes, *([chains] if self.network.has(chains) else [])]
        compute = compute_cycles(stage.work, stage.parallelism, self.machine)
        port = max(self._port_cycles(group, stage), default=0)
        network = max((self.network.event_cycles(channel) for channel in used), default=0)
        exchange = self._exchange_cycles(index, stage)
        chain = self.network.chain_cycles(index, position, stage.record.units, max(1, stage.record.chain))
        return StageActor(
            index,
            position,
            stage.events,
            max(compute, port, network, exchange),
            compute_cycles=compute,
            port_cycles=port,
            network_cycles=network,
            exchange_cycles=exchange,
            fill_cycles=fill_cycles(stage.work, stage.parallelism, self.machine) + chain,
            read_cycles=tuple(self.network.hop_cycles(channel) for channel in reads),
            write_cycles=tuple(self.network.hop_cycles(channel) for channel in writes),
        )

    def _channel(self, phase: int, position: int, stage: Stage, kind: pb.Net.Kind, port: int) -> Channel:
        channel = Channel(phase, "stage", position, kind, port)
        if not self.network.has(channel):
            side = "input" if kind == pb.Net.READ else "output"
            raise IllegalPefError(f"stage {stage.name!r}: no net carries its {side} {port}")
        return channel

    def _port_cycles(self, group: PhaseActors, stage: Stage) -> list[int]:
        """Cycles per firing that the buffer behind each port of the stage needs."""
        buffers, events = self.configuration.buffers, stage.events
        reads = [
            group.ports.cycles(buffers[port.buffer].units, input_bytes(stage, port, self.machine), events, write=False)
            for port in stage.inputs
        ]
        writes = [
            group.ports.cycles(buffers[port.buffer].units, output_bytes(stage, port), events, write=True)
            for port in stage.outputs
        ]
        return reads + writes

    def _exchange_cycles(self, index: int, stage: Stage) -> int:
        """Cycles per firing that the link to other replicas needs, shared with the phase's other exchanges."""
        if not exchanged_bytes(stage.body.tile_operations):
            return 0
        sent = sum(
            exchanged_bytes(other.body.tile_operations) * min(stage.events, other.events)
            for other in self.configuration.phases[index].stages
        )
        return exchange_cycles(sent / stage.events, self.replicas, self.machine)

    def _stream(self, group: PhaseActors, index: int, position: int, stream: Stream) -> StreamActor:
        record = stream.record
        channel = Channel(index, "stream", position, pb.Net.STORE if stream.store else pb.Net.LOAD, 0)
        if not self.network.has(channel) or not record.agcus:
            name = self.configuration.buffers[stream.buffer].name
            raise IllegalPefError(f"buffer {name!r}: no {'AGCU' if self.network.has(channel) else 'net'} moves it")
        size = self.configuration.transfer_bytes(index, stream)
        guide = Channel(index, "stream", position, pb.Net.INDEX, 0)
        if stream.pick is not None and not self.network.has(guide):
            name = self.configuration.buffers[stream.record.index.buffer].name
            raise IllegalPefError(f"buffer {name!r}: no net brings the index to the stream that uses it")
        actor = StreamActor(
            index,
            position,
            self.configuration.transfers(index, stream),
            0,
            client=len(self.clients),
            store=stream.store,
            whole=stream.is_whole,
            size_bytes=size,
            hop_cycles=self.network.hop_cycles(channel),
            index_cycles=self.network.hop_cycles(guide) if stream.pick is not None else 0,
        )
        rate, limit = self._route_rate(group, channel, stream, size, actor.events)
        self.clients.append(Client(self._tiers[stream.slot], stream.store, tuple(record.agcus), rate, limit))
        return actor

    def _route_rate(
        self, group: PhaseActors, channel: Channel, stream: Stream, size: int, events: int
    ) -> tuple[float, Limit]:
        """The most bytes per cycle that the stream's nets and its buffer's ports let through, and which decides."""
        units = self.configuration.buffers[stream.buffer].units
        held = self.configuration.slice_bytes(channel.phase, stream)
        if stream.is_whole:
            links = self.network.transfer_cycles(channel)
            ports = -(-held // (len(units) * self.machine.pmu_port_bytes_per_cycle))
        else:
            links = self.network.event_cycles(channel)
            ports = group.ports.cycles(units, held, events, write=not stream.store)
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
        operations = self.configuration.phases[stage.phase].stages[stage.index].body.tile_operations
        return exchange_latency_cycles(self.replicas, self.machine) if exchanged_bytes(operations) else 0

    def _order_stream(self, index: int, stream: StreamActor) -> None:
        """Loads begin one phase early, unless their buffer or its PMUs are still in use there; stores with their phase.

        A load waits for earlier phases' stores to the same symbol, and one that streams for the whole loads of its
        phase: without them no firing would take what it brings, and it would only slow them down.
        """
        record = self.configuration.phases[index].streams[stream.index]
        earlier = self.phases[:index]
        in_use = any(record.buffer in p.readers or record.buffer in p.writers for p in earlier)
        replaced = self.configuration.replaced[record.buffer]
        in_use |= any(self.configuration.lifetimes[number][1] == index - 1 for number in replaced)
        if stream.store or in_use or self._made_before(earlier, record):
            stream.await_end(self.phases[index].start, 0)
        elif index > 0:
            stream.await_end(self.phases[index - 1].ready, 0)
        if stream.store:
            return
        for other in self.phases[index].streams:
            if other.whole and not other.store and not stream.whole:
                stream.await_end(other, 0)
        for number, group in enumerate(earlier):
            for other in group.streams:
                slot = self.configuration.phases[number].streams[other.index].slot
                if other.store and self._symbols[slot] == self._symbols[record.slot]:
                    stream.await_end(other, 0)

    def _made_before(self, earlier: Sequence[PhaseActors], stream: Stream) -> bool:
        """Whether stages of an earlier phase make the index that a stream goes by."""
        if stream.pick is None:
            return False
        written = [use for group in earlier for use in group.writers.get(stream.record.index.buffer, ())]
        return any(isinstance(use.actor, StageActor) for use in written)

    def _connect(self, index: int) -> None:
        """Data dependences, places in rings and in PMUs, buffer by buffer."""
        group = self.phases[index]
        for buffer in sorted(group.readers.keys() | group.writers.keys()):
            writers, readers = group.writers.get(buffer, []), group.readers.get(buffer, [])
            for writer in writers:
                self._await_room(index, buffer, writer)
            for reader in readers:
                for writer in writers:
                    if writer.access.position < reader.access.position:
                        self._follow(writer, reader)
                        self._reserve(buffer, writer, reader)
                self._await_earlier_loads(index, buffer, reader)

    def _await_earlier_loads(self, index: int, buffer: int, reader: Use) -> None:
        """The barrier between phases is that of stages: who reads what an earlier phase loads waits for that."""
        for group in self.phases[:index]:
            for writer in group.writers.get(buffer, ()):
                if isinstance(writer.actor, StreamActor):
                    reader.actor.await_end(writer.actor, writer.hop_cycles + reader.hop_cycles)

    def _await_room(self, index: int, buffer: int, writer: Use) -> None:
        """Who writes where other buffers have lived waits for the streams that still use them: only stages have ended
        with their phase."""
        for number in self.configuration.replaced[buffer]:
            for group in self.phases[:index]:
                for use in (*group.writers.get(number, ()), *group.readers.get(number, ())):
                    if isinstance(use.actor, StreamActor):
                        writer.actor.await_end(use.actor, use.hop_cycles)

    def _follow(self, writer: Use, reader: Use) -> None:
        """The reader needs the writer's data: in step where both keep it, else all of it."""
        source, target = writer.actor, reader.actor
        offset = writer.hop_cycles + reader.hop_cycles
        if isinstance(source, StageActor):
            offset += source.release + source.fill_cycles
        cause = Cause.INPUT if isinstance(source, StageActor) else Cause.DRAM
        written, read = self.configuration.writer(writer.access), self.configuration.reader(reader.access)
        if written.resident_load and source.events > 1:
            target.follow(source, resident_sources(written, read), offset, cause)
        elif written.resident_load or sync_level(written, read) == 0:
            target.await_end(source, offset)
        else:
            target.follow(source, sources(needs(written, read), target.events), offset, cause)

    def _reserve(self, buffer: int, writer: Use, reader: Use) -> None:
        """A ring's writer waits until the reader has finished with what it replaces."""
        record = self.configuration.buffers[buffer]
        written, read = self.configuration.writer(writer.access), self.configuration.reader(reader.access)
        wait = frees(written, read, record.depth)
        if wait is not None:
            cause = Cause.DRAM if isinstance(reader.actor, StreamActor) else Cause.OUTPUT
            writer.actor.follow(reader.actor, sources(wait, writer.actor.events), reader.actor.release, cause)
