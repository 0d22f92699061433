"""A configuration whose records have been decoded and whose indices are all in range: what the rules look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ir.op import Op
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import decode_op, decode_type
from pef.machine import Machine

OPERATOR_ERRORS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What an operator may raise when asked about operands that no compiler would give it."""


def named(kind: str, number: int, name: str = "") -> str:
    """How problems refer to a thing: by number, and by name where it has one."""
    return f"{kind} {number} ({name})" if name else f"{kind} {number}"


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a stage or stream as one tile sees it; `axis` is the axis the tiles cut, -1 for none."""

    type: TensorType
    axis: int

    def whole(self, tiles: int) -> TensorType:
        """The type of all tiles together."""
        if self.axis < 0:
            return self.type
        shape = list(self.type.shape)
        shape[self.axis] *= tiles
        return self.type.with_shape(tuple(shape))


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
    tiles: int
    values: tuple[Value, ...]
    applications: tuple[Application, ...]

    @staticmethod
    def of(owner: pb.Stage | pb.Stream, where: str, tiles: int) -> Body:
        """The decoded body of a stage or stream of a phase of `tiles` tiles."""
        values = tuple(Value(decode_type(value.type), value.axis) for value in owner.values)
        applications = tuple(
            Application(
                f"{where}, {named('operation', number, operation.op)}",
                decode_op(operation),
                tuple(operation.operands),
                tuple(operation.results),
            )
            for number, operation in enumerate(owner.operations)
        )
        return Body(where, tiles, values, applications)

    def types(self, indices: tuple[int, ...]) -> tuple[TensorType, ...]:
        """The tile types of some values."""
        return tuple(self.values[i].type for i in indices)

    def axes(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        """The cut axes of some values."""
        return tuple(self.values[i].axis for i in indices)

    def wholes(self, indices: tuple[int, ...]) -> tuple[TensorType, ...]:
        """The types of some values, all tiles together."""
        return tuple(self.values[i].whole(self.tiles) for i in indices)


@dataclass(frozen=True)
class Stage:
    """A stage and its record."""

    where: str
    record: pb.Stage
    body: Body


@dataclass(frozen=True)
class Stream:
    """A stream and its record."""

    where: str
    record: pb.Stream
    body: Body


@dataclass(frozen=True)
class Phase:
    """A phase with its stages and streams."""

    where: str
    tiles: int
    stages: tuple[Stage, ...]
    streams: tuple[Stream, ...]


@dataclass(frozen=True)
class Buffer:
    """A buffer with its type."""

    where: str
    type: TensorType
    axis: int
    tiles: int
    depth: int
    units: tuple[int, ...]

    @property
    def is_ring(self) -> bool:
        """Whether it holds less than the tensor."""
        return self.depth < self.tiles

    @property
    def bytes_per_unit(self) -> int:
        """Bytes in each PMU."""
        return -(-self.depth * self.type.sliced(self.axis, self.tiles).nbytes // len(self.units))


@dataclass(frozen=True, slots=True)
class Access:
    """A read or write of a buffer by a port of a stage or by a stream.

    `position` orders a phase's actors by dataflow: loads before the stages, which are numbered, before stores.
    """

    where: str
    phase: int
    actor: tuple[str, int]
    position: int
    buffer: int
    axis: int
    combine: str = ""

    @property
    def by_stream(self) -> bool:
        """Whether it is a transfer to or from memory."""
        return self.actor[0] == "stream"

    @property
    def is_whole_transfer(self) -> bool:
        """Whether it happens before the first tile (a load) or after the last (a store)."""
        return self.by_stream and self.axis < 0


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
            tuple(_phase(phase, f"{where}, phase {i}") for i, phase in enumerate(record.phases)),
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


def _buffer(record: pb.Buffer, where: str) -> Buffer:
    return Buffer(where, decode_type(record.type), record.axis, record.tiles, record.depth, tuple(record.units))


def _phase(record: pb.Phase, where: str) -> Phase:
    def stage(number: int, owner: pb.Stage) -> Stage:
        place = f"{where}, {named('stage', number, owner.name)}"
        return Stage(place, owner, Body.of(owner, place, record.tiles))

    def stream(number: int, owner: pb.Stream) -> Stream:
        place = f"{where}, {'store' if owner.store else 'load'} stream {number}"
        return Stream(place, owner, Body.of(owner, place, record.tiles))

    stages = tuple(stage(number, owner) for number, owner in enumerate(record.stages))
    streams = tuple(stream(number, owner) for number, owner in enumerate(record.streams))
    return Phase(where, record.tiles, stages, streams)


def _reads(number: int, phase: Phase) -> list[Access]:
    ports = [
        Access(f"{stage.where}, input {i}", number, ("stage", at), at, port.buffer, port.axis, port.combine)
        for at, stage in enumerate(phase.stages)
        for i, port in enumerate(stage.record.inputs)
    ]
    stores = [
        Access(stream.where, number, ("stream", i), len(phase.stages), stream.record.buffer, stream.record.axis)
        for i, stream in enumerate(phase.streams)
        if stream.record.store
    ]
    return ports + stores


def _writes(number: int, phase: Phase) -> list[Access]:
    loads = [
        Access(stream.where, number, ("stream", i), -1, stream.record.buffer, stream.record.axis)
        for i, stream in enumerate(phase.streams)
        if not stream.record.store
    ]
    ports = [
        Access(f"{stage.where}, output {i}", number, ("stage", at), at, port.buffer, port.axis, port.combine)
        for at, stage in enumerate(phase.stages)
        for i, port in enumerate(stage.record.outputs)
    ]
    return loads + ports


def _by_buffer(accesses: tuple[Access, ...], count: int) -> dict[int, list[Access]]:
    found: dict[int, list[Access]] = {number: [] for number in range(count)}
    for access in accesses:
        found[access.buffer].append(access)
    return found
