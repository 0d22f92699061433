"""A PEF's configuration as the simulator reads it: records decoded once, indices and types checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from ir.errors import IllegalPefError, Problem
from ir.op import Combine, Op
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import decode_op, decode_type


@dataclass(frozen=True, slots=True)
class TileValue:
    """A value of the type it has for one tile; `axis` is the axis that the tiles cut, -1 for none."""

    type: TensorType
    axis: int

    def grown(self, tiles: int) -> TensorType:
        """The type for `tiles` adjacent tiles at once."""
        if self.axis < 0 or tiles == 1:
            return self.type
        shape = list(self.type.shape)
        shape[self.axis] *= tiles
        return self.type.with_shape(tuple(shape))


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator applied to values, by index."""

    op: Op
    operands: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """A stage's access to a buffer: tile by tile along `axis`, or whole where axis is -1."""

    value: int
    buffer: int
    axis: int
    combine: Combine | None


@dataclass(frozen=True, slots=True)
class Stage:
    """Operators between buffers."""

    name: str
    values: tuple[TileValue, ...]
    operations: tuple[Operation, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def is_resident(self) -> bool:
        """Whether nothing in it differs from tile to tile, so that one execution serves the whole phase."""
        return all(port.axis < 0 and port.combine is None for port in (*self.inputs, *self.outputs))


@dataclass(frozen=True, slots=True)
class Stream:
    """A transfer between the symbol bound to `slot` and a buffer, tile by tile along `axis` of the buffer."""

    slot: int
    buffer: int
    axis: int
    values: tuple[TileValue, ...]
    operations: tuple[Operation, ...]

    @property
    def symbol_axis(self) -> int:
        """The axis of the symbol that the tiles cut, -1 where it moves whole."""
        return self.values[-1].axis if self.operations else self.axis


@dataclass(frozen=True, slots=True)
class Phase:
    """Stages and streams over `tiles` successive tiles."""

    tiles: int
    stages: tuple[Stage, ...]
    loads: tuple[Stream, ...]
    stores: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor, or `depth` of its `tiles` tiles along `axis`."""

    name: str
    type: TensorType
    axis: int
    tiles: int
    depth: int

    @property
    def is_whole(self) -> bool:
        """Whether the buffer holds the whole tensor, not a ring of tiles."""
        return self.depth >= self.tiles


@dataclass(frozen=True)
class Configuration:
    """One section's program."""

    slots: tuple[TensorType, ...]
    buffers: tuple[Buffer, ...]
    phases: tuple[Phase, ...]

    @staticmethod
    def decode(record: pb.Configuration, where: str) -> Configuration:
        """The configuration in `record`. Raises IllegalPefError, naming all that makes no sense in it."""
        decoded = Configuration(
            slots=tuple(map(decode_type, record.slots)),
            buffers=tuple(
                Buffer(b.name, decode_type(b.type), b.axis, max(1, b.tiles), max(1, b.depth)) for b in record.buffers
            ),
            phases=tuple(_decode_phase(phase) for phase in record.phases),
        )
        IllegalPefError.raise_if(_Checker(decoded, where).problems)
        return decoded


def _decode_phase(record: pb.Phase) -> Phase:
    streams = [(stream.store, _decode_stream(stream)) for stream in record.streams]
    return Phase(
        tiles=max(1, record.tiles),
        stages=tuple(_decode_stage(stage) for stage in record.stages),
        loads=tuple(stream for is_store, stream in streams if not is_store),
        stores=tuple(stream for is_store, stream in streams if is_store),
    )


def _decode_stage(record: pb.Stage) -> Stage:
    return Stage(
        name=record.name,
        values=_decode_values(record),
        operations=_decode_operations(record),
        inputs=tuple(map(_decode_port, record.inputs)),
        outputs=tuple(map(_decode_port, record.outputs)),
    )


def _decode_stream(record: pb.Stream) -> Stream:
    return Stream(record.slot, record.buffer, record.axis, _decode_values(record), _decode_operations(record))


def _decode_values(owner: pb.Stage | pb.Stream) -> tuple[TileValue, ...]:
    return tuple(TileValue(decode_type(value.type), value.axis) for value in owner.values)


def _decode_operations(owner: pb.Stage | pb.Stream) -> tuple[Operation, ...]:
    return tuple(Operation(decode_op(o), tuple(o.operands), tuple(o.results)) for o in owner.operations)


def _decode_port(record: pb.Port) -> Port:
    known = {combine.value: combine for combine in Combine}
    if record.combine and record.combine not in known:
        raise IllegalPefError(Problem(f"unknown way to combine tiles: {record.combine!r}", hint="recompile the model"))
    return Port(record.value, record.buffer, record.axis, known.get(record.combine))


@dataclass
class _Checker:
    """Finds what the simulator could not execute."""

    configuration: Configuration
    where: str
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        filled: set[int] = set()
        for number, phase in enumerate(self.configuration.phases):
            self._check_phase(phase, f"{self.where}, phase {number}", filled)

    def _say(self, where: str, message: str) -> None:
        self.problems.append(Problem(message, where, "recompile the model"))

    def _check_phase(self, phase: Phase, where: str, filled: set[int]) -> None:
        """`filled` are the buffers that hold something when the phase begins; grows by what the phase fills."""
        made: dict[int, int] = {}
        for stream in phase.loads:
            if self._check_stream(stream, phase.tiles, where):
                made[stream.buffer] = stream.axis
        accumulated: set[int] = set()
        for stage in phase.stages:
            place = f"{where}, stage {stage.name}"
            if not self._check_indices(stage, place):
                continue
            self._check_types(stage, phase.tiles, place)
            for port in stage.inputs:
                self._check_read(port, phase, place, filled, made, accumulated)
            for port in stage.outputs:
                made[port.buffer] = port.axis
                if port.combine is not None and phase.tiles > 1:
                    accumulated.add(port.buffer)
                elif port.axis < 0 and phase.tiles > 1 and not stage.is_resident:
                    self._say(place, f"the tiles' results for {self._name(port.buffer)} are not combined")
        for stream in phase.stores:
            if not self._check_stream(stream, phase.tiles, where):
                continue
            if stream.buffer not in made and stream.buffer not in filled:
                self._say(where, f"a stream stores {self._name(stream.buffer)}, which nothing fills")
            if stream.axis >= 0 and stream.buffer in accumulated:
                self._say(where, f"a stream stores tiles of {self._name(stream.buffer)}, complete only at the end")
        filled.update(made)

    def _check_read(
        self, port: Port, phase: Phase, where: str, filled: set[int], made: dict[int, int], accumulated: set[int]
    ) -> None:
        name = self._name(port.buffer)
        if port.buffer in accumulated:
            self._say(where, f"{name} is read in the phase that accumulates it")
        elif port.buffer in made:
            if phase.tiles > 1 and made[port.buffer] not in (-1, port.axis):
                self._say(where, f"{name} is filled along axis {made[port.buffer]} but read along axis {port.axis}")
        elif port.buffer not in filled:
            self._say(where, f"{name} is read before anything fills it")
        elif not self.configuration.buffers[port.buffer].is_whole:
            self._say(where, f"{name} is a ring of tiles and cannot be read in a later phase")

    def _check_stream(self, stream: Stream, tiles: int, where: str) -> bool:
        if stream.slot >= len(self.configuration.slots) or stream.buffer >= len(self.configuration.buffers):
            self._say(where, f"a stream names slot {stream.slot} and buffer {stream.buffer}, which do not exist")
            return False
        buffer, slot = self.configuration.buffers[stream.buffer], self.configuration.slots[stream.slot]
        if not stream.operations:
            if buffer.type != slot:
                self._say(where, f"a stream moves {slot} to or from {buffer.name}, which holds {buffer.type}")
            return self._check_cut(buffer.type, stream.axis, tiles, buffer.name, where)
        if not _operations_sound(stream.operations, {0}, len(stream.values)):
            self._say(where, f"the operators of the stream of {buffer.name} use undefined values")
            return False
        ends = (buffer.type, stream.axis), (slot, stream.symbol_axis)
        sound = True
        for (whole, axis), value in zip(ends, (stream.values[0], stream.values[-1])):
            sound &= self._check_cut(whole, axis, tiles, buffer.name, where)
            if sound and whole.sliced(axis, tiles) != value.type:
                self._say(where, f"a stream of {buffer.name} moves {value.type}, not a tile of {whole}")
                sound = False
        if any(not operation.op.is_free for operation in stream.operations):
            self._say(where, f"the stream of {buffer.name} computes; only a stage can")
            return False
        return sound

    def _check_indices(self, stage: Stage, where: str) -> bool:
        count, buffers = len(stage.values), len(self.configuration.buffers)
        ports = (*stage.inputs, *stage.outputs)
        if any(port.value >= count or port.buffer >= buffers for port in ports):
            self._say(where, "a port names a value or buffer that does not exist")
            return False
        defined = {port.value for port in stage.inputs}
        if not _operations_sound(stage.operations, defined, count):
            self._say(where, "an operator uses a value before it is defined")
            return False
        defined.update(result for operation in stage.operations for result in operation.results)
        if any(port.value not in defined for port in stage.outputs):
            self._say(where, "an output is never computed")
            return False
        return True

    def _check_types(self, stage: Stage, tiles: int, where: str) -> None:
        for port in (*stage.inputs, *stage.outputs):
            buffer, value = self.configuration.buffers[port.buffer], stage.values[port.value]
            if not self._check_cut(buffer.type, port.axis, tiles, buffer.name, where):
                continue
            if buffer.type.sliced(port.axis, tiles) != value.type:
                self._say(where, f"a port passes {value.type}, but a tile of {buffer.name} is cut from {buffer.type}")
            if not buffer.is_whole and (port.axis != buffer.axis or tiles != buffer.tiles):
                self._say(where, f"ring buffer {buffer.name} is accessed in another cut than it has")
        for operation in stage.operations:
            self._check_operation(operation, stage, where)

    def _check_operation(self, operation: Operation, stage: Stage, where: str) -> None:
        declared = tuple(stage.values[result].type for result in operation.results)
        operands = tuple(stage.values[operand].type for operand in operation.operands)
        try:
            inferred = operation.op.results(*operands)
        except (ValueError, TypeError, IndexError) as error:
            self._say(where, f"{operation.op.name}: {error}")
            return
        if inferred != declared:
            self._say(where, f"{operation.op.name} gives {_listed(inferred)}, not {_listed(declared)}")

    def _check_cut(self, whole: TensorType, axis: int, tiles: int, name: str, where: str) -> bool:
        if axis < 0 or (axis < whole.rank and whole.shape[axis] % tiles == 0):
            return True
        self._say(where, f"{name} of type {whole} cannot be cut into {tiles} tiles along axis {axis}")
        return False

    def _name(self, buffer: int) -> str:
        return f"buffer {self.configuration.buffers[buffer].name}"


def _listed(types: tuple[TensorType, ...]) -> str:
    return ", ".join(map(str, types))


def _operations_sound(operations: tuple[Operation, ...], defined: set[int], count: int) -> bool:
    """Whether every operator uses defined values and defines new ones."""
    known = set(defined)
    for operation in operations:
        if not known.issuperset(operation.operands) or any(result >= count for result in operation.results):
            return False
        known.update(operation.results)
    return True
