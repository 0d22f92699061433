"""A configuration decoded: the one model of it that checker, executors and timing read.

Records have been turned into types, operators and nests once; indices are in range (`pef.checks.structure` sees to
that before). Everything is named for messages by `where`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ir.op import Op
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import decode_op, decode_type, parallelism, side_of_product
from pef.cycles import Parallelism, StageWork, TileOperation
from pef.machine import Machine
from pef.nest import Load, Nest, Pick, Reader, Slicing, Writer, axis_of, level_of

OPERATOR_ERRORS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What an operator may raise when asked about operands that no compiler would give it."""


LOADS, GATHERS = -2, -1
"""The positions of loads, and of those that go by an index, before the stages."""


def named(kind: str, number: int, name: str = "") -> str:
    """How problems refer to a thing: by number, and by name where it has one."""
    return f"{kind} {number} ({name})" if name else f"{kind} {number}"


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a stage or stream in one firing, and how the loops cut it."""

    type: TensorType
    slicing: Slicing


@dataclass(frozen=True, slots=True)
class Application:
    """An operator applied to values, by their indices."""

    where: str
    op: Op
    operands: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class Body:
    """The values and operations of a stage or stream."""

    where: str
    nest: Nest
    values: tuple[Value, ...]
    applications: tuple[Application, ...]

    @cached_property
    def level(self) -> int:
        """The loops down to the innermost that cuts one of its values."""
        return max((level_of(value.slicing) for value in self.values), default=0)

    def types(self, indices: tuple[int, ...]) -> tuple[TensorType, ...]:
        """The types of some values in one firing."""
        return tuple(self.values[i].type for i in indices)

    def axes(self, indices: tuple[int, ...], loop: int) -> tuple[int, ...]:
        """The axes of some values that a loop cuts."""
        return tuple(axis_of(self.values[i].slicing, loop) for i in indices)

    def grown(self, indices: tuple[int, ...], level: int) -> tuple[TensorType, ...]:
        """The types of some values over all iterations of the loops from `level` inwards."""
        return tuple(self.nest.grown(self.values[i].type, self.values[i].slicing, level) for i in indices)

    @cached_property
    def tile_operations(self) -> tuple[TileOperation, ...]:
        """The operators with the types they have in one firing."""
        return tuple(TileOperation(a.op, self.types(a.operands), self.types(a.results)) for a in self.applications)


@dataclass(frozen=True)
class Port:
    """A stage's access to a buffer; `combine` says how the partial results of loops become one, or is empty."""

    where: str
    value: int
    buffer: int
    slicing: Slicing
    combine: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage: fires `events` times, once per iteration of the outer `level` loops."""

    where: str
    record: pb.Stage
    body: Body
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def name(self) -> str:
        """Its operators, for people."""
        return self.record.name

    @cached_property
    def level(self) -> int:
        """The loops down to the innermost that cuts one of its ports."""
        return max((level_of(port.slicing) for port in (*self.inputs, *self.outputs)), default=0)

    @property
    def events(self) -> int:
        """Firings in one run of the phase."""
        return self.body.nest.events(self.level)

    @cached_property
    def work(self) -> StageWork:
        """What one firing asks of its PCUs."""
        return StageWork.of(self.body.tile_operations)

    def product_side(self, port: Port) -> int | None:
        """0 or 1 where an input feeds the left or right operand of the stage's product, else None."""
        return side_of_product(((a.op, a.operands, a.results) for a in self.body.applications), port.value)

    @property
    def parallelism(self) -> Parallelism:
        """How it is spread over its PCUs."""
        return parallelism(self.record)


@dataclass(frozen=True)
class Stream:
    """A stream: `slicing` is the buffer's, and all loops leave it alone where one transfer moves everything.

    `pick` says what an index picks of the symbol; None where the symbol moves whole.
    """

    where: str
    record: pb.Stream
    body: Body
    slicing: Slicing
    pick: Pick | None = None

    @property
    def store(self) -> bool:
        """Whether it goes from the buffer to the symbol."""
        return self.record.store

    @property
    def buffer(self) -> int:
        """The buffer's index."""
        return self.record.buffer

    @property
    def slot(self) -> int:
        """The slot whose symbol it moves."""
        return self.record.slot

    @property
    def level(self) -> int:
        """The loops down to the innermost that cuts its buffer."""
        return level_of(self.slicing)

    @property
    def is_whole(self) -> bool:
        """Whether one transfer moves everything: a load before the first firing, a store after the last."""
        return level_of(self.slicing) == 0

    @property
    def symbol_slicing(self) -> Slicing:
        """How the loops cut the symbol, or what is picked of it."""
        return self.body.values[-1].slicing if self.store and self.body.values else self.slicing

    @property
    def index_slicing(self) -> Slicing:
        """How the loops cut the index."""
        cut = self.pick.slicing(self.symbol_slicing) if self.pick is not None else ()
        return cut[: level_of(cut)]

    def picked(self, symbol: TensorType) -> TensorType:
        """The type of all it moves of its symbol."""
        return symbol if self.pick is None else self.pick.picked(symbol)


@dataclass(frozen=True)
class Phase:
    """A phase with its loops, stages and streams."""

    where: str
    nest: Nest
    stages: tuple[Stage, ...]
    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Buffer:
    """A buffer; `home` is the nest of the phase that fills it, `slicing` says how that cuts it."""

    where: str
    name: str
    type: TensorType
    home: Nest
    slicing: Slicing
    depth: int
    units: tuple[int, ...]

    @property
    def slices(self) -> int:
        """Distinct slices of the tensor."""
        return self.home.slices(self.slicing)

    @property
    def is_ring(self) -> bool:
        """Whether it holds less than the tensor."""
        return self.depth < self.slices

    @property
    def bytes(self) -> int:
        """Bytes it holds."""
        return self.depth * self.home.sliced(self.type, self.slicing).nbytes

    @property
    def bytes_per_unit(self) -> int:
        """Bytes in each PMU."""
        return -(-self.bytes // len(self.units))


@dataclass(frozen=True, slots=True)
class Access:
    """A read or write of a buffer by a port of a stage or by a stream.

    `position` orders a phase's actors by dataflow: loads, then those that go by an index, before the stages, which are
    numbered, before stores. `is_index` says that a stream reads its index.
    """

    where: str
    phase: int
    actor: tuple[str, int]
    position: int
    buffer: int
    slicing: Slicing
    combine: str = ""
    is_index: bool = False

    @property
    def by_stream(self) -> bool:
        """Whether it is a transfer to or from memory."""
        return self.actor[0] == "stream"

    @property
    def is_whole_transfer(self) -> bool:
        """Whether it happens before the first firing (a load) or after the last (a store)."""
        return self.by_stream and not self.is_index and level_of(self.slicing) == 0


@dataclass(frozen=True)
class Configuration:
    """One decoded configuration on its machine."""

    machine: Machine
    where: str
    record: pb.Configuration
    slots: tuple[TensorType, ...]
    buffers: tuple[Buffer, ...]
    phases: tuple[Phase, ...]

    @staticmethod
    def of(record: pb.Configuration, machine: Machine, where: str) -> Configuration:
        """Decode a configuration that `structure` has found sound."""
        return Configuration(
            machine,
            where,
            record,
            tuple(map(decode_type, record.slots)),
            tuple(
                _buffer(buffer, f"{where}, {named('buffer', i, buffer.name)}")
                for i, buffer in enumerate(record.buffers)
            ),
            tuple(_phase(phase, record.buffers, f"{where}, phase {i}") for i, phase in enumerate(record.phases)),
        )

    @cached_property
    def sites(self) -> list[int]:
        """The site of every unit."""
        return [unit.site for unit in self.record.units]

    @cached_property
    def writes(self) -> tuple[Access, ...]:
        """Every write of a buffer, phase by phase."""
        return tuple(access for i, phase in enumerate(self.phases) for access in _writes(i, phase))

    @cached_property
    def reads(self) -> tuple[Access, ...]:
        """Every read of a buffer, phase by phase."""
        return tuple(access for i, phase in enumerate(self.phases) for access in _reads(i, phase))

    @cached_property
    def writers(self) -> dict[int, list[Access]]:
        """The writes of each buffer."""
        return _by_buffer(self.writes, len(self.buffers))

    @cached_property
    def readers(self) -> dict[int, list[Access]]:
        """The reads of each buffer."""
        return _by_buffer(self.reads, len(self.buffers))

    @cached_property
    def lifetimes(self) -> tuple[tuple[int, int], ...]:
        """The first and the last phase that uses each buffer; those of no use live throughout."""
        used = [[a.phase for a in (*self.writers[i], *self.readers[i])] for i in range(len(self.buffers))]
        return tuple((min(phases), max(phases)) if phases else (0, len(self.phases) - 1) for phases in used)

    @cached_property
    def replaced(self) -> tuple[tuple[int, ...], ...]:
        """Of each buffer, those whose place it takes: the last to live in one of its PMUs before it, where the PMU
        cannot hold all of its buffers at one time."""
        tenants: dict[int, list[int]] = {}
        for number, buffer in enumerate(self.buffers):
            for unit in buffer.units:
                tenants.setdefault(unit, []).append(number)
        found: list[set[int]] = [set() for _ in self.buffers]
        for numbers in dict.fromkeys(map(tuple, tenants.values())):
            if sum(self.buffers[number].bytes_per_unit for number in numbers) > self.machine.pmu_bytes:
                for number in numbers:
                    gone = [one for one in numbers if self.lifetimes[one][1] < self.lifetimes[number][0]]
                    newest = max((self.lifetimes[one][0] for one in gone), default=0)
                    found[number].update(one for one in gone if self.lifetimes[one][1] >= newest)
        return tuple(tuple(sorted(others)) for others in found)

    def transfers(self, phase: int, stream: Stream) -> int:
        """How often a stream moves something: a resident load each slice once, others once per iteration."""
        nest = self.phases[phase].nest
        if stream.store or self.buffers[stream.buffer].is_ring:
            return nest.events(level_of(stream.slicing))
        return nest.slices(stream.slicing)

    def transfer_bytes(self, phase: int, stream: Stream) -> int:
        """Bytes of device memory that one transfer reads or writes."""
        slot, nest = self.slots[stream.slot], self.phases[phase].nest
        part = nest.sliced(stream.picked(slot), stream.symbol_slicing)
        if stream.pick is None:
            return part.nbytes
        return stream.pick.moved_bytes(slot, part, self.machine.memory_burst_bytes)

    def slice_bytes(self, phase: int, stream: Stream) -> int:
        """Bytes of its buffer that one transfer fills or empties."""
        return self.phases[phase].nest.sliced(self.buffers[stream.buffer].type, stream.slicing).nbytes

    def writer(self, access: Access) -> Writer:
        """How a write takes part in its phase's nest."""
        nest, buffer = self.phases[access.phase].nest, self.buffers[access.buffer]
        if not access.by_stream:
            return Writer(nest, access.slicing, self.phases[access.phase].stages[access.actor[1]].level)
        if buffer.is_ring:
            return Load(nest, access.slicing, level_of(access.slicing))
        return Writer(nest, access.slicing, level_of(access.slicing), resident_load=True)

    def reader(self, access: Access) -> Reader:
        """How a read takes part in its phase's nest."""
        phase = self.phases[access.phase]
        level = (phase.streams if access.by_stream else phase.stages)[access.actor[1]].level
        return Reader(phase.nest, access.slicing, level)


def _slicing(axes: list[int]) -> Slicing:
    """Without the loops at the end that cut nothing."""
    level = level_of(tuple(axes))
    return tuple(axes[:level])


def _buffer(record: pb.Buffer, where: str) -> Buffer:
    slicing, tensor = _slicing(list(record.axes)), decode_type(record.type)
    return Buffer(where, record.name, tensor, Nest(tuple(record.counts)), slicing, record.depth, tuple(record.units))


def _body(owner: pb.Stage | pb.Stream, where: str, nest: Nest) -> Body:
    values = tuple(Value(decode_type(value.type), _slicing(list(value.axes))) for value in owner.values)
    applications = tuple(
        Application(
            f"{where}, {named('operation', number, operation.op)}",
            decode_op(operation),
            tuple(operation.operands),
            tuple(operation.results),
        )
        for number, operation in enumerate(owner.operations)
    )
    return Body(where, nest, values, applications)


def _phase(record: pb.Phase, buffers: Sequence[pb.Buffer], where: str) -> Phase:
    nest = Nest(tuple(record.loops))

    def stage(number: int, owner: pb.Stage) -> Stage:
        place = f"{where}, {named('stage', number, owner.name)}"
        body = _body(owner, place, nest)

        def port(side: str, index: int, port: pb.Port) -> Port:
            slicing = body.values[port.value].slicing
            return Port(f"{place}, {side} {index}", port.value, port.buffer, slicing, port.combine)

        inputs = tuple(port("input", i, record) for i, record in enumerate(owner.inputs))
        outputs = tuple(port("output", i, record) for i, record in enumerate(owner.outputs))
        return Stage(place, owner, body, inputs, outputs)

    def stream(number: int, owner: pb.Stream) -> Stream:
        place = f"{where}, {'store' if owner.store else 'load'} stream {number}"
        return Stream(place, owner, _body(owner, place, nest), _slicing(list(owner.axes)), _pick(owner, buffers))

    stages = tuple(stage(number, owner) for number, owner in enumerate(record.stages))
    streams = tuple(stream(number, owner) for number, owner in enumerate(record.streams))
    return Phase(where, nest, stages, streams)


def _pick(stream: pb.Stream, buffers: Sequence[pb.Buffer]) -> Pick | None:
    if not stream.HasField("index"):
        return None
    return Pick(stream.index.axis, decode_type(buffers[stream.index.buffer].type).shape)


def _reads(number: int, phase: Phase) -> list[Access]:
    ports = [
        Access(port.where, number, ("stage", at), at, port.buffer, port.slicing, port.combine)
        for at, stage in enumerate(phase.stages)
        for port in stage.inputs
    ]
    stores = [
        Access(stream.where, number, ("stream", i), len(phase.stages), stream.buffer, stream.slicing)
        for i, stream in enumerate(phase.streams)
        if stream.store
    ]
    indices = [
        Access(
            f"{stream.where}, index",
            number,
            ("stream", i),
            len(phase.stages) if stream.store else GATHERS,
            stream.record.index.buffer,
            stream.index_slicing,
            is_index=True,
        )
        for i, stream in enumerate(phase.streams)
        if stream.pick is not None
    ]
    return ports + stores + indices


def _writes(number: int, phase: Phase) -> list[Access]:
    loads = [
        Access(
            stream.where,
            number,
            ("stream", i),
            LOADS if stream.pick is None else GATHERS,
            stream.buffer,
            stream.slicing,
        )
        for i, stream in enumerate(phase.streams)
        if not stream.store
    ]
    ports = [
        Access(port.where, number, ("stage", at), at, port.buffer, port.slicing, port.combine)
        for at, stage in enumerate(phase.stages)
        for port in stage.outputs
    ]
    return loads + ports


def _by_buffer(accesses: tuple[Access, ...], count: int) -> dict[int, list[Access]]:
    found: dict[int, list[Access]] = {number: [] for number in range(count)}
    for access in accesses:
        found[access.buffer].append(access)
    return found
