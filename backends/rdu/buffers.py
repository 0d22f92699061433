"""Buffers and streams of a section: what sits in PMUs between stages, how deep, and what moves to and from memory.

A ring holds `depth` tiles. Its depth follows from time: a tile occupies its place from when its producer starts on it
until its slowest reader is done, and every interval of the phase another tile needs a place. So the short arm of a
residual connection gets as many tiles as the long arm has in flight, and the pipe does not stall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.rdu.allocate import AllocatedPhase
from backends.rdu.phases import WHOLE, Phase, space_of
from backends.rdu.sections import CutSection, Store
from backends.rdu.tiling import TiledStage
from ir.graph import Value
from ir.op import Combine, CostClass
from ir.types import TensorType
from pef.cycles import fill_cycles, operand_bytes
from pef.machine import Machine, SiteKind

HOPS = 16
"""Switches a tile is assumed to cross between a buffer and a stage, before placement knows."""

PORT_PATIENCE = 32
"""A stage much faster than its phase's interval may wait for a port as long as this part of the interval."""


@dataclass(slots=True)
class Buffer:
    """A tensor, or `depth` of its `tiles` tiles along `axis`, in `pmus` PMUs. `first` is the first phase that uses
    it."""

    name: str
    type: TensorType
    axis: int
    tiles: int
    depth: int
    first: int
    pmus: int = 1

    @property
    def whole(self) -> bool:
        """Whether it holds the whole tensor."""
        return self.depth == self.tiles

    @property
    def bytes(self) -> int:
        """Bytes it holds."""
        return self.type.nbytes // self.tiles * self.depth


@dataclass(frozen=True, slots=True)
class Port:
    """A stage's access to a buffer, by index, for one of its values; `side` is the operand's side of a product."""

    value: Value
    buffer: int
    axis: int
    combine: Combine | None = None
    side: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A transfer between a symbol and a buffer, by index: per tile along `axis` of the buffer, or whole."""

    symbol: str
    buffer: int
    axis: int
    store: Store | None = None


@dataclass(slots=True)
class PhaseLayout:
    """The ports of every stage of a phase, and its streams."""

    phase: AllocatedPhase
    inputs: list[list[Port]] = field(default_factory=list)
    outputs: list[list[Port]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)


@dataclass(slots=True)
class Layout:
    """Everything of a section before it has sites: phases with ports and streams, over shared buffers."""

    section: CutSection
    phases: list[PhaseLayout]
    buffers: list[Buffer]


def lay_out(section: CutSection, phases: Sequence[AllocatedPhase], machine: Machine) -> Layout:
    """Buffers, ports and streams of a section."""
    return _LayoutBuilder(section, phases, machine).build()


def streamed_bytes(section: CutSection, phase: Phase) -> int:
    """Bytes that a phase moves to and from memory, tile by tile."""
    made = {value.name for streamed in phase.stages for value in streamed.stage.writes}
    reads = {
        (value.name, streamed.axes[value.name]): value.type.nbytes
        for streamed in phase.stages
        for value in streamed.stage.reads
        if value.name in section.loads and streamed.axes[value.name] != WHOLE
    }
    return sum(reads.values()) + sum(store.value.type.nbytes for store in section.stores if store.base.name in made)


class _LayoutBuilder:
    def __init__(self, section: CutSection, phases: Sequence[AllocatedPhase], machine: Machine) -> None:
        self.section = section
        self.machine = machine
        self.layout = Layout(section, [PhaseLayout(phase) for phase in phases], [])
        self.maker = {
            value.name: index
            for index, phase in enumerate(phases)
            for streamed in phase.phase.stages
            for value in streamed.stage.writes
        }
        self.values = {
            value.name: value
            for phase in phases
            for streamed in phase.phase.stages
            for value in (*streamed.stage.reads, *streamed.stage.writes)
        }
        self.last_reader = {
            value.name: index
            for index, phase in enumerate(phases)
            for streamed in phase.phase.stages
            for value in streamed.stage.reads
        }
        self.made: dict[str, int] = {}
        self.loaded: dict[tuple[str, int, int], int] = {}
        self.starts: list[list[float]] = [_start_cycles(phase, machine) for phase in phases]

    def build(self) -> Layout:
        for index, phase in enumerate(self.layout.phases):
            for position, stage in enumerate(phase.phase.stages):
                phase.inputs.append([self._read(index, position, stage, value) for value in stage.streamed.stage.reads])
                phase.outputs.append([self._write(index, position, stage, v) for v in stage.streamed.stage.writes])
        for store in self.section.stores:
            self._store(store)
        self._deepen_loads()
        for buffer in self.layout.buffers:
            buffer.pmus = max(1, math.ceil(buffer.bytes / self.machine.pmu_bytes))
        self._widen_ports()
        return self.layout

    def _read(self, index: int, position: int, stage: TiledStage, value: Value) -> Port:
        axis = stage.streamed.axes[value.name]
        side = _product_side(stage, value)
        if value.name in self.made:
            return Port(value, self.made[value.name], axis, side=side)
        return Port(value, self._load(index, value, axis), axis, side=side)

    def _load(self, index: int, value: Value, axis: int) -> int:
        """The buffer that `value` is loaded into: once for the section where used whole, else once per phase."""
        key = (value.name, axis, index if axis != WHOLE else -1)
        if key not in self.loaded:
            tiles = self.layout.phases[index].phase.tiles if axis != WHOLE else 1
            self.loaded[key] = self._buffer(Buffer(value.name, value.type, axis, tiles, min(2, tiles), index))
            symbol = self.section.loads[value.name]
            self.layout.phases[index].streams.append(Stream(symbol, self.loaded[key], axis))
        return self.loaded[key]

    def _write(self, index: int, position: int, stage: TiledStage, value: Value) -> Port:
        phase = self.layout.phases[index].phase
        axis = stage.streamed.axes[value.name]
        if axis == WHOLE:
            self.made[value.name] = self._buffer(Buffer(value.name, value.type, WHOLE, 1, 1, index))
            combine = _combine(stage, value) if phase.tiles > 1 else None
            return Port(value, self.made[value.name], WHOLE, combine)
        depth = self._ring_depth(index, position, value)
        self.made[value.name] = self._buffer(Buffer(value.name, value.type, axis, phase.tiles, depth, index))
        return Port(value, self.made[value.name], axis)

    def _ring_depth(self, index: int, position: int, value: Value) -> int:
        """Tiles in flight between the producer and the last reader; all of them where a later phase reads too."""
        phase = self.layout.phases[index].phase
        if self.last_reader.get(value.name, index) > index:
            return phase.tiles
        starts = self.starts[index]
        ends = [
            starts[p] + phase.options[p].cycles
            for p, stage in enumerate(phase.stages)
            if value in stage.streamed.stage.reads
        ]
        stored = any(store.base == value for store in self.section.stores)
        last = max([*ends, starts[position] + phase.options[position].cycles * (2 if stored else 1)])
        return min(phase.tiles, max(2, math.ceil((last - starts[position]) / phase.interval) + 1))

    def _deepen_loads(self) -> None:
        """A streamed load feeding several stages keeps each tile from the first reader's start to the last's end."""
        for (name, axis, index), buffer in self.loaded.items():
            if axis == WHOLE:
                continue
            phase = self.layout.phases[index].phase
            starts = [
                self.starts[index][p]
                for p, stage in enumerate(phase.stages)
                if any(v.name == name and stage.streamed.axes[name] == axis for v in stage.streamed.stage.reads)
            ]
            apart = math.ceil((max(starts) - min(starts)) / phase.interval) if starts else 0
            self.layout.buffers[buffer].depth = min(phase.tiles, 2 + apart)

    def _store(self, store: Store) -> None:
        """Stream the stored value out: along with the tiles where its views allow, else whole when the phase ends."""
        name = store.base.name
        if name not in self.made:
            loaded = self._load(0, store.base, WHOLE)
            first = self.layout.buffers[loaded].first
            self.layout.phases[first].streams.append(Stream(store.symbol, loaded, WHOLE, store))
            return
        index = self.maker[name]
        buffer = self.layout.buffers[self.made[name]]
        axis = buffer.axis
        if axis != WHOLE and _stored_axis(store, axis, buffer.tiles) is None:
            buffer.depth = buffer.tiles
            axis = WHOLE
        self.layout.phases[index].streams.append(Stream(store.symbol, self.made[name], axis, store))

    def _buffer(self, buffer: Buffer) -> int:
        self.layout.buffers.append(buffer)
        return len(self.layout.buffers) - 1

    def _widen_ports(self) -> None:
        """Give buffers the PMUs whose ports their readers need; fewer, in proportion, where there are not enough."""
        least = sum(buffer.pmus for buffer in self.layout.buffers)
        wanted = [self._port_pmus(index) for index in range(len(self.layout.buffers))]
        free = len(self.machine.working_sites(SiteKind.PMU)) * 8 // 10 - least
        extra = sum(max(0, want - buffer.pmus) for want, buffer in zip(wanted, self.layout.buffers))
        scale = min(1.0, max(0, free) / extra) if extra else 0.0
        for want, buffer in zip(wanted, self.layout.buffers):
            buffer.pmus += round(scale * max(0, want - buffer.pmus))

    def _port_pmus(self, index: int) -> int:
        """PMUs whose read and write ports keep up with the stages that use them."""
        reads: dict[int, float] = {}
        writes: dict[int, float] = {}
        for number, phase in enumerate(self.layout.phases):
            for stage, option, inputs, outputs in zip(
                phase.phase.stages, phase.phase.options, phase.inputs, phase.outputs
            ):
                pace = max(option.cycles, phase.phase.interval / PORT_PATIENCE)
                for port in inputs:
                    if port.buffer == index:
                        tile = stage.tile_type(port.value)
                        sent = operand_bytes(stage.work, option.parallel, self.machine, tile, port.side)
                        reads[number] = max(reads.get(number, 0), sent / pace)
                for port in outputs:
                    if port.buffer == index:
                        writes[number] = stage.tile_type(port.value).nbytes / pace
        rate = max([*reads.values(), *writes.values(), 0.0])
        return max(1, math.ceil(rate / self.machine.pmu_port_bytes_per_cycle))


def _start_cycles(phase: AllocatedPhase, machine: Machine) -> list[float]:
    """When each stage starts on the first tile, if nothing holds it up."""
    ready: dict[str, float] = {}
    starts = []
    for stage, option in zip(phase.stages, phase.options):
        start = max((ready.get(value.name, 0.0) for value in stage.streamed.stage.reads), default=0.0)
        starts.append(start)
        latency = option.cycles + fill_cycles(stage.work, option.parallel, machine) + 2 * HOPS * machine.hop_cycles
        ready.update((value.name, start + latency) for value in stage.streamed.stage.writes)
    return starts


def _combine(stage: TiledStage, value: Value) -> Combine:
    return next(node.op.combine for node in stage.streamed.stage.nodes if value in node.results)


def _product_side(stage: TiledStage, value: Value) -> int | None:
    """The side of the stage's product that `value` reaches, directly or through free operators."""
    reached = {value.name}
    for node in stage.streamed.stage.nodes:
        if node.op.cost.kind is CostClass.SYSTOLIC:
            return next((side for side, operand in enumerate(node.operands) if operand.name in reached), None)
        if node.op.is_free and any(operand.name in reached for operand in node.operands):
            reached.update(result.name for result in node.results)
    return None


def _stored_axis(store: Store, axis: int, tiles: int) -> int | None:
    """The axis of the stored value that follows from cutting its base along `axis`, or None if it cannot be cut."""
    for node in store.views:
        space = space_of(node)
        dim = space.leading(space.operands[0][axis])
        cut = space.cut(dim) if dim is not None else None
        if cut is None or cut.size % tiles or cut.results[0] == WHOLE:
            return None
        axis = cut.results[0]
    return axis


def stored_axes(store: Store, axis: int, tiles: int) -> list[int]:
    """The axis of the base and of every view along a streamed store; all whole where `axis` is."""
    axes = [axis]
    for count in range(1, len(store.views) + 1):
        part = Store(store.base, store.views[:count], store.value, store.symbol)
        streamed = None if axis == WHOLE else _stored_axis(part, axis, tiles)
        axes.append(WHOLE if streamed is None else streamed)
    return axes
