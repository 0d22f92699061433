"""Buffers and streams of a section: what sits in PMUs between stages, how deep, and what moves to and from memory.

A ring holds what is under way: a slice occupies its place from when its writer starts on it until its slowest reader
is done, and at every interval another needs a place. So the short arm of a residual connection gets as many slices as
the long arm has in flight, and the pipe does not stall. What is read a block at a time is held twice: one block is read
while the next is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from backends.rdu.allocate.units import AllocatedPhase
from backends.rdu.cut.cut_section import CutSection, Store
from backends.rdu.fuse.indexed import Update
from backends.rdu.fuse.stages import StageNodes
from backends.rdu.stream.estimate import Load, kept_loads, loads_of, made_by, ring_depth, serving, starts, stored
from backends.rdu.stream.forms import Cutting, cut_form
from backends.rdu.stream.nests import NestedStage, Phase, reader_of, writer_of
from ir.graph import Value
from ir.op import Combine
from ir.types import TensorType
from pef.cycles import operand_bytes, result_bytes
from pef.machine import Machine, SiteKind
from pef.nest import WHOLE, Nest, Pick, Slicing, Writer, axis_of, level_of, sync_level
from pef.nest import Load as LoadWriter

PORT_PATIENCE = 32
"""A stage much faster than its phase may wait for a port as long as this part of its interval."""

HOPS = 16
"""Switches a slice is assumed to cross between two units, before placement knows."""


@dataclass(slots=True)
class Buffer:
    """A tensor, or `depth` of its slices, in `pmus` PMUs. `home` is the nest that cuts it along `slicing`, `first` the
    first phase that uses it; `loaded` says whether a stream fills it."""

    name: str
    type: TensorType
    home: Nest
    slicing: Slicing
    depth: int
    first: int
    loaded: bool = False
    pmus: int = 1

    @property
    def slices(self) -> int:
        """Slices that the tensor is cut into."""
        return self.home.slices(self.slicing)

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice."""
        return self.home.sliced(self.type, self.slicing).nbytes

    @property
    def bytes(self) -> int:
        """Bytes it holds."""
        return self.slice_bytes * self.depth


@dataclass(frozen=True, slots=True)
class Port:
    """A stage's access to a buffer, by index, for one of its values; `side` is the operand's side of a product."""

    value: Value
    buffer: int
    combine: Combine | None = None
    side: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A transfer between a symbol and a buffer, by index: per slice, or whole where `slicing` is empty.

    A store has the views it passes through as a stage in the phase's nest. With a `pick`, the numbers in the buffer
    `index` say what of the symbol it moves.
    """

    symbol: str
    buffer: int
    slicing: Slicing
    store: NestedStage | None = None
    pick: Pick | None = None
    index: int = 0

    @property
    def index_slicing(self) -> Slicing:
        """How the loops cut the index."""
        if self.pick is None:
            return ()
        cut = self.pick.slicing(self.slicing if self.store is None else self.store.slicings[-1])
        return cut[: level_of(cut)]


@dataclass(slots=True)
class PhaseLayout:
    """The ports of every stage of a phase, and its streams."""

    phase: AllocatedPhase
    inputs: list[list[Port]] = field(default_factory=list)
    outputs: list[list[Port]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    @property
    def nest(self) -> Nest:
        """The loops."""
        return self.phase.phase.nest


@dataclass(slots=True)
class Layout:
    """Everything of a section before it has sites: phases with ports and streams, over shared buffers."""

    section: CutSection
    phases: list[PhaseLayout]
    buffers: list[Buffer]

    def lifetimes(self) -> list[range]:
        """The phases in which each buffer lives: from the first that uses it to the last. PMUs serve one after the
        other."""
        last = [buffer.first for buffer in self.buffers]
        for number, phase in enumerate(self.phases):
            ports = (port.buffer for ports in (*phase.inputs, *phase.outputs) for port in ports)
            moved = (stream.buffer for stream in phase.streams)
            indices = (stream.index for stream in phase.streams if stream.pick is not None)
            for buffer in (*ports, *moved, *indices):
                last[buffer] = max(last[buffer], number)
        return [range(buffer.first, end + 1) for buffer, end in zip(self.buffers, last)]

    def pmus(self) -> list[int]:
        """The PMUs of the buffers that live in each phase."""
        used = [0] * len(self.phases)
        for buffer, phases in zip(self.buffers, self.lifetimes()):
            for phase in phases:
                used[phase] += buffer.pmus
        return used

    def transfers(self, phase: int, stream: Stream) -> int:
        """How often a stream transfers: once for each distinct slice of a resident buffer, else once per iteration."""
        buffer, nest = self.buffers[stream.buffer], self.phases[phase].nest
        if stream.store is None and buffer.depth == buffer.slices:
            return nest.slices(stream.slicing)
        return nest.events(level_of(stream.slicing))


def lay_out(
    section: CutSection, phases: Sequence[AllocatedPhase], machine: Machine, resident_bytes: int, deepening: float
) -> Layout:
    """Buffers, ports and streams of a section. `deepening` is the part of the PMUs left over that makes the rings of
    loads deeper: memory then works ahead of their phase, at the expense of what it moves meanwhile."""
    return _LayoutBuilder(section, phases, machine, resident_bytes, deepening).build()


def moved_bytes(section: CutSection, phase: Phase, made: set[str], resident_bytes: int) -> int:
    """Bytes that a phase moves to and from memory while it streams; `made` is what earlier phases have made."""
    own = made_by(phase.stages)
    loads = loads_of(phase, resident_bytes, made)
    stores = sum(store.value.type.nbytes for store in section.stores if store.base.name in own)
    return sum(load.bytes for load in loads if not load.resident) + stores


class _LayoutBuilder:
    def __init__(
        self,
        section: CutSection,
        phases: Sequence[AllocatedPhase],
        machine: Machine,
        resident_bytes: int,
        deepening: float,
    ) -> None:
        self.section = section
        self.deepening = deepening
        self.machine = machine
        self.resident_bytes = resident_bytes
        self.layout = Layout(section, [PhaseLayout(phase) for phase in phases], [])
        self.starts = [starts(phase.phase) for phase in phases]
        self.last_phase = {
            value.name: index
            for index, phase in enumerate(phases)
            for stage in phase.stages
            for value in stage.stage.needs
        }
        self.held: set[str] = set()
        """What must be whole in its buffer, although no stage wants it so."""
        self.store_phases = {store.symbol: self._store_phase(store) for store in section.stores}
        self.made: dict[str, int] = {}
        self.makers: dict[str, tuple[int, int]] = {}
        self.loaded: dict[tuple[str, Slicing, int], int] = {}
        self.kept: dict[str, int] = {}
        self.held_back: dict[str, int] = {}
        self.keeping = _keeping([phase.phase for phase in phases], machine, resident_bytes)

    def build(self) -> Layout:
        for index, phase in enumerate(self.layout.phases):
            self.kept.update(self.held_back)
            loads = self._loads(index)
            for position, stage in enumerate(phase.phase.stages):
                phase.inputs.append([self._read(index, stage, value, loads) for value in stage.stage.reads])
                phase.outputs.append([self._write(index, position, stage, value) for value in stage.stage.writes])
        for store in self.section.stores:
            self._store(store)
        for buffer in self.layout.buffers:
            buffer.pmus = max(1, math.ceil(buffer.bytes / self.machine.pmu_bytes))
        self._widen_ports()
        self._deepen_loads()
        return self.layout

    def _loads(self, index: int) -> list[Load]:
        """What the phase loads."""
        return loads_of(self.layout.phases[index].phase.phase, self.resident_bytes, {**self.made, **self.kept})

    def _read(self, index: int, stage: NestedStage, value: Value, loads: Sequence[Load]) -> Port:
        side = stage.form.sides.get(stage.numbers[value.name])
        if value.name in self.made:
            return Port(value, self.made[value.name], side=side)
        load = serving(loads, value, _trimmed(stage.slicing(value)))
        if load is None:
            return Port(value, self.kept[value.name], side=side)
        return Port(value, self._load(index, load), side=side)

    def _load(self, index: int, load: Load) -> int:
        """The buffer that a value is loaded into: once for the section where it stays, else once per phase."""
        key = (load.value.name, load.slicing, -1 if load.resident else index)
        if key not in self.loaded:
            nest = self.layout.phases[index].nest
            keeps = not load.resident and load.value.name in self.keeping[index]
            depth = 1 if load.resident else self._load_depth(index, load)
            if keeps:
                depth = nest.slices(load.slicing)
            buffer = Buffer(load.value.name, load.value.type, nest, load.slicing, depth, index, loaded=True)
            self.loaded[key] = self._buffer(buffer)
            if keeps:
                self.keeping[index].discard(load.value.name)
                self.held_back[load.value.name] = self.loaded[key]
            symbol = self.section.loads[load.value.name]
            stream = Stream(symbol, self.loaded[key], load.slicing)
            gather = self.section.gathers.get(load.value.name)
            if gather is not None:
                stream = replace(stream, pick=gather.pick, index=self._index(index, gather.index))
            self.layout.phases[index].streams.append(stream)
        return self.loaded[key]

    def _index(self, phase: int, index: Value) -> int:
        """The buffer of an index: as made in the section, else loaded whole."""
        if index.name in self.made:
            return self.made[index.name]
        number = self._load(phase, Load(index, (), True, 1))
        self._bring_forward(number, phase)
        return number

    def _bring_forward(self, number: int, phase: int) -> None:
        """Let a whole load happen by `phase`, where a later one was the first to want it."""
        buffer = self.layout.buffers[number]
        if buffer.first <= phase:
            return
        streams = self.layout.phases[buffer.first].streams
        load = next(stream for stream in streams if stream.buffer == number and stream.store is None)
        streams.remove(load)
        buffer.first = phase
        if load.pick is not None:
            self._index(phase, self.section.gathers[buffer.name].index)
        self.layout.phases[phase].streams.append(load)

    def _store_phase(self, store: Store) -> int:
        """The phase that stores: the first that has all it needs, but none before the last that loads the symbol. What
        it needs must then be whole."""
        phases = [phase.phase.phase for phase in self.layout.phases]
        makers = {name: number for number, phase in enumerate(phases) for name in made_by(phase.stages)}
        updated = [value for value in self.section.loads if self.section.loads[value] == store.symbol]
        loading = [self.last_phase[name] for name in updated if name in self.last_phase]
        number = max([0, *loading, *(makers[value.name] for value in store.needs if value.name in makers)])
        waits = any(makers.get(value.name, number) != number for value in store.needs)
        if waits or (loading and store.update is not None):
            self.held |= {value.name for value in store.needs}
        elif store.update is not None:
            self.held.add(store.update.index.name)
        return number

    def _load_depth(self, index: int, load: Load) -> int:
        """Slices so that each is there when its first reader wants it and stays until its last has it."""
        phase = self.layout.phases[index].phase
        nest = phase.phase.nest
        writer = LoadWriter(nest, load.slicing, level_of(load.slicing))
        reads = [
            (position, reader_of(phase.phase, stage, value))
            for position, stage in enumerate(phase.stages)
            for value in stage.stage.reads
            if value.name == load.value.name and load.covers(_trimmed(stage.slicing(value)))
        ]
        begun = self.starts[index]
        start = min(begun[position] - 1 / nest.events(sync_level(writer, reader)) for position, reader in reads)
        lags = [(reader, begun[position] - start) for position, reader in reads]
        return ring_depth(writer, lags, self._slack(index, writer.events))

    def _write(self, index: int, position: int, stage: NestedStage, value: Value) -> Port:
        phase = self.layout.phases[index].phase.phase
        writer = writer_of(phase, stage, value)
        slicing = _trimmed(writer.slicing)
        depth = self._ring_depth(index, position, value, writer)
        buffer = Buffer(value.name, value.type, phase.nest, slicing, depth, index)
        self.made[value.name] = self._buffer(buffer)
        self.makers[value.name] = (index, position)
        return Port(value, self.made[value.name], _combine(stage, value))

    def _ring_depth(self, index: int, position: int, value: Value, writer: Writer) -> int:
        """Slices in flight between the writer and the last reader; all of them where a later phase reads too, or where
        the value is complete only at the end of the phase."""
        phase = self.layout.phases[index].phase
        whole = writer.nest.slices(writer.slicing)
        if self.last_phase.get(value.name, index) > index or (writer.completion == 0 and writer.level > 0):
            return whole
        if value.name in self.held:
            return whole
        begun = self.starts[index]
        readers = [
            (reader_of(phase.phase, stage, read), begun[at] - begun[position])
            for at, stage in enumerate(phase.stages)
            for read in stage.stage.reads
            if at > position and read == value
        ]
        if not readers or any(store.base == value for store in self.section.stores):
            readers.append(stored(writer))
        return ring_depth(writer, readers, self._slack(index, writer.nest.events(writer.completion)))

    def _slack(self, index: int, units: int) -> int:
        """Units on their way through the network, which a steady schedule does not see."""
        interval = max(1.0, self.layout.phases[index].phase.interval(units))
        return math.ceil(2 * HOPS * self.machine.hop_cycles / interval)

    def _store(self, store: Store) -> None:
        """Stream the stored value out: slice by slice where its views allow, else whole when the phase ends."""
        name = store.base.name
        if store.update is not None:
            self._store_by_index(store, store.update)
            return
        if name not in self.made:
            loaded = self._load(0, Load(store.base, (), True, 1))
            number = max(self.layout.buffers[loaded].first, self.store_phases[store.symbol])
            self.layout.phases[number].streams.append(Stream(store.symbol, loaded, (), _views(store)))
            return
        (index, position), number = self.makers[name], self.store_phases[store.symbol]
        phase = self.layout.phases[index].phase.phase
        buffer = self.layout.buffers[self.made[name]]
        views = self._streamed_views(store, phase, position) if number == index else None
        if views is None:
            buffer.depth = buffer.slices
            views = _views(store)
        stream = Stream(store.symbol, self.made[name], _trimmed(views.slicings[0]), views)
        self.layout.phases[number].streams.append(stream)

    def _store_by_index(self, store: Store, update: Update) -> None:
        """Stream new slices over those of a symbol: as they are made where nothing else of the section loads that
        symbol, and where memory need not move more for it; else when its last reader is done."""
        number = self.store_phases[store.symbol]
        name, nest = store.base.name, self.layout.phases[number].nest
        at = self._index(number, update.index)
        views = None
        if name in self.made and name not in self.held:
            phase = self.layout.phases[number].phase.phase
            views = self._streamed_views(store, phase, self.makers[name][1])
        if views is not None and update.moved_bytes(nest, views.slicings[-1]) > update.moved_bytes(nest, ()):
            views = None
        buffer = self.made[name] if name in self.made else self._load(number, Load(store.base, (), True, 1))
        if views is None:
            self.layout.buffers[buffer].depth = self.layout.buffers[buffer].slices
            views = _views(store)
        slicing = views.slicings[0]
        stream = Stream(store.symbol, buffer, slicing[: level_of(slicing)], views, update.pick, at)
        self.layout.phases[number].streams.append(stream)

    def _streamed_views(self, store: Store, phase: Phase, position: int) -> NestedStage | None:
        """The store's views cut by the loops that complete the value, or None where it cannot leave slice by slice."""
        stage = phase.stages[position]
        writer = writer_of(phase, stage, store.base)
        level = writer.completion
        if level == 0 or any(axis_of(writer.slicing, loop) == WHOLE for loop in range(level)):
            return None
        views = _views(store)
        for loop in range(level):
            followed = _followed(views, writer.slicing[loop], phase.nest.counts[loop])
            if followed is None:
                return None
            views = followed
        return views

    def _buffer(self, buffer: Buffer) -> int:
        self.layout.buffers.append(buffer)
        return len(self.layout.buffers) - 1

    def _spare(self) -> list[int]:
        """PMUs that nobody needs in each phase, but for a few that placement may use as it likes."""
        available = len(self.machine.working_sites(SiteKind.PMU)) * 95 // 100
        return [max(0, available - used) for used in self.layout.pmus()]

    def _widen_ports(self) -> None:
        """Give buffers the PMUs whose ports their users need; fewer, in proportion, where there are not enough."""
        buffers, lifetimes = self.layout.buffers, self.layout.lifetimes()
        wanted = [max(0, ports - buffer.pmus) for ports, buffer in zip(self._port_pmus(), buffers)]
        asked = [0] * len(self.layout.phases)
        for want, phases in zip(wanted, lifetimes):
            for phase in phases:
                asked[phase] += want
        scales = [min(1.0, spare / more) if more else 1.0 for spare, more in zip(self._spare(), asked)]
        pmus = len(self.machine.working_sites(SiteKind.PMU))
        left = [pmus - used for used in self.layout.pmus()]
        for want, buffer, phases in zip(wanted, buffers, lifetimes):
            share = round(min(scales[phase] for phase in phases) * want)
            more = max(0, min(share, *(left[phase] for phase in phases)))
            buffer.pmus += more
            for phase in phases:
                left[phase] -= more

    def _deepen_loads(self) -> None:
        """Let load rings use PMUs that are left over: first those they have anyway, then a share of the others."""
        spare = [int(left * self.deepening) for left in self._spare()]
        for phase, left in enumerate(spare):
            rings = [b for b in self.layout.buffers if b.loaded and b.depth < b.slices and b.first == phase]
            for buffer in rings:
                buffer.depth = min(buffer.slices, max(buffer.depth, self._capacity(buffer.pmus, buffer)))
            for buffer in sorted(rings, key=lambda ring: ring.slice_bytes * ring.slices):
                more = min(
                    left // max(1, len(rings)), math.ceil(buffer.type.nbytes / self.machine.pmu_bytes) - buffer.pmus
                )
                if more > 0 and self._capacity(buffer.pmus + more, buffer) > buffer.depth:
                    buffer.pmus += more
                    buffer.depth = min(buffer.slices, self._capacity(buffer.pmus, buffer))

    def _capacity(self, pmus: int, buffer: Buffer) -> int:
        """Slices that fit so many PMUs."""
        return pmus * self.machine.pmu_bytes // buffer.slice_bytes

    def _port_pmus(self) -> list[int]:
        """For every buffer, the PMUs whose read and write ports keep up with the stages and streams that use it."""
        rates = [0.0] * len(self.layout.buffers)
        for number, layout in enumerate(self.layout.phases):
            phase = layout.phase
            for stream in layout.streams:
                if stream.slicing:
                    size = layout.nest.sliced(self.layout.buffers[stream.buffer].type, stream.slicing).nbytes
                    moved = size * self.layout.transfers(number, stream)
                    rates[stream.buffer] = max(rates[stream.buffer], moved / phase.cycles)
            for stage, option, inputs, outputs in zip(phase.stages, phase.options, layout.inputs, layout.outputs):
                events = phase.phase.events(stage)
                pace = max(option.cycles, phase.interval(events) / PORT_PATIENCE)
                for port in inputs:
                    tile = stage.type(port.value)
                    sent = operand_bytes(stage.work, option.parallel, self.machine, tile, port.side)
                    rates[port.buffer] = max(rates[port.buffer], sent / pace)
                for port in outputs:
                    sent = result_bytes(stage.work, option.parallel, stage.type(port.value))
                    rates[port.buffer] = max(rates[port.buffer], sent / pace)
        return [max(1, math.ceil(rate / self.machine.pmu_port_bytes_per_cycle)) for rate in rates]


def _keeping(phases: Sequence[Phase], machine: Machine, resident_bytes: int) -> list[set[str]]:
    """What each phase loads for later ones, too."""
    made: set[str] = set()
    found = []
    for index, phase in enumerate(phases):
        found.append(kept_loads(phases, index, made, machine, resident_bytes))
        made |= found[-1] | {value.name for stage in phase.stages for value in stage.stage.writes}
    return found


def _trimmed(slicing: Slicing) -> Slicing:
    """Without the loops at the end that cut nothing."""
    return slicing[: level_of(slicing)]


def _views(store: Store) -> NestedStage:
    """The views that a store passes through, as a stage outside of any loop: value 0 is what the buffer holds."""
    return NestedStage.of(StageNodes(store.views, (store.base,), (store.value,)))


def _followed(views: NestedStage, axis: int, count: int) -> NestedStage | None:
    """The views inside one more loop that cuts what the buffer holds; None where they do not allow it."""
    if not views.form.operations:
        return views.within(Cutting((axis,), count, frozenset()), count)
    cutting = cut_form(views.form, ((0, axis),), None)
    if cutting is None or cutting.divisor % count or cutting.accumulators:
        return None
    return views.within(cutting, count)


def _combine(stage: NestedStage, value: Value) -> Combine | None:
    if not stage.accumulates(value):
        return None
    return next(node.op.combine for node in stage.stage.nodes if value in node.results)
