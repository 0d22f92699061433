"""A configuration as the fast executor runs it: phases of a single loop, all loops inside it coalesced.

The loop that stays is the outermost that iterates at all. The values of a firing are grown over the loops inside it,
so that what those reduce over, the operator reduces by itself, and what they leave alone is the same array throughout.
A phase in which something must be complete before it is read, over all iterations of its loop, becomes several: what
is read tile by tile lies between such barriers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ir.errors import IllegalPefError, Problem
from ir.op import Combine, Op
from ir.types import TensorType
from pef import decoded
from pef.nest import WHOLE, Nest, Pick, Slicing, axis_of


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
    """An operator applied to values, by index; `where` names it."""

    op: Op
    operands: tuple[int, ...]
    results: tuple[int, ...]
    where: str = ""


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
    """A transfer between the symbol bound to `slot` and a buffer, tile by tile along `axis` of the buffer.

    With a `pick`, of what the numbers in the buffer `index` pick of the symbol; a store then moves all at once, so that
    the last counts of several for one place.
    """

    slot: int
    buffer: int
    axis: int
    values: tuple[TileValue, ...]
    operations: tuple[Operation, ...]
    pick: Pick | None = None
    index: int = 0

    @property
    def symbol_axis(self) -> int:
        """The axis of the symbol that the tiles cut, -1 where it moves whole or where they cut the index."""
        axis = self.values[-1].axis if self.operations else self.axis
        if self.pick is None or axis < self.pick.axis:
            return axis
        return axis - self.pick.rank + 1 if axis >= self.pick.axis + self.pick.rank else WHOLE

    @property
    def index_axis(self) -> int:
        """The axis of the index that the tiles cut, -1 where they leave it whole."""
        return axis_of(self.pick.slicing((self.axis,)), 0) if self.pick is not None and self.axis >= 0 else WHOLE


@dataclass(frozen=True, slots=True)
class Phase:
    """Stages and streams over `tiles` successive tiles."""

    tiles: int
    stages: tuple[Stage, ...]
    loads: tuple[Stream, ...]
    stores: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor; unless it is whole, only the tiles at work exist."""

    name: str
    type: TensorType
    is_whole: bool


@dataclass(frozen=True)
class Program:
    """One section's program."""

    slots: tuple[TensorType, ...]
    buffers: tuple[Buffer, ...]
    phases: tuple[Phase, ...]

    @staticmethod
    def of(configuration: decoded.Configuration) -> Program:
        """The program of a configuration that `pef.check` has found legal."""
        buffers = tuple(_buffer(configuration, number) for number in range(len(configuration.buffers)))
        phases = tuple(phase for whole in configuration.phases for phase in _Parts(whole).phases())
        return Program(configuration.slots, buffers, phases)


def _kept_loop(nest: Nest) -> int:
    """The loop that stays: the outermost that iterates."""
    return next((loop for loop, count in enumerate(nest.counts) if count > 1), 0)


def _axis(nest: Nest, slicing: Slicing) -> int:
    """The axis that the loop cuts."""
    return axis_of(slicing, _kept_loop(nest)) if nest.events(len(nest.counts)) > 1 else WHOLE


def _buffer(configuration: decoded.Configuration, number: int) -> Buffer:
    buffer = configuration.buffers[number]
    nest = configuration.phases[configuration.writers[number][0].phase].nest
    whole = not buffer.is_ring or _axis(nest, buffer.slicing) == WHOLE
    return Buffer(buffer.name, buffer.type, whole or number in _kept_whole(configuration))


def _kept_whole(configuration: decoded.Configuration) -> set[int]:
    """Buffers that exist whole here whatever they are: indices, and what is stored by them."""
    streams = [stream for phase in configuration.phases for stream in phase.streams if stream.pick is not None]
    return {stream.record.index.buffer for stream in streams} | {s.buffer for s in streams if s.store}


def _values(body: decoded.Body) -> tuple[TileValue, ...]:
    inner = _kept_loop(body.nest) + 1
    return tuple(
        TileValue(body.nest.grown(value.type, value.slicing, inner), _axis(body.nest, value.slicing))
        for value in body.values
    )


def _operations(body: decoded.Body, values: tuple[TileValue, ...]) -> tuple[Operation, ...]:
    return tuple(_operation(body, application, values) for application in body.applications)


def _operation(body: decoded.Body, application: decoded.Application, values: tuple[TileValue, ...]) -> Operation:
    indices = (*application.operands, *application.results)
    op = application.op
    if any(values[index].type != body.values[index].type for index in indices):
        operands, results = (
            tuple(values[index].type for index in numbers) for numbers in (application.operands, application.results)
        )
        whole = op.for_tile(operands, results)
        if whole is None:
            raise IllegalPefError(
                Problem(
                    f"{op.name} over all iterations of the inner loops is not {op.name} of each",
                    application.where,
                    "run it with --strict, one slice at a time",
                )
            )
        op = whole
    return Operation(op, application.operands, application.results, application.where)


class _Parts:
    """One phase, cut at its barriers into parts that run one after another."""

    def __init__(self, phase: decoded.Phase) -> None:
        self.nest = phase.nest
        self.tiles = self.nest.counts[_kept_loop(self.nest)] if self.nest.counts else 1
        self.stages = [self._stage(stage) for stage in phase.stages]
        self.loads = [self._stream(stream) for stream in phase.streams if not stream.store]
        self.stores = [self._stream(stream) for stream in phase.streams if stream.store]
        self.made: dict[int, tuple[int, Port]] = {}
        """Of each buffer that a stage of this phase fills: in which part, and by which port."""

    def phases(self) -> Iterator[Phase]:
        """The parts in order."""
        parts = [self._part(stage) for stage in self.stages]
        readers: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for part, stage in zip(parts, self.stages):
            for port in stage.inputs:
                readers[port.buffer].append((part, port.axis))
        gathers = [load for load in self.loads if load.pick is not None]
        loaded = self._loaded(gathers, readers)
        gathers = [self._load(load, readers[load.buffer], loaded[load.buffer]) for load in gathers]
        for load in gathers:
            readers[load.index].append((loaded[load.buffer], load.index_axis))
        plain = [load for load in self.loads if load.pick is None]
        loaded |= self._loaded(plain, readers)
        stored = [self._stored(store, loaded) for store in self.stores]
        for store, part in zip(self.stores, stored):
            readers[store.buffer].append((part, store.axis))
            if store.pick is not None:
                readers[store.index].append((part, store.index_axis))
        loads = [self._load(load, readers[load.buffer], loaded[load.buffer]) for load in plain] + gathers
        for number in range(max([*parts, *stored], default=0) + 1):
            yield Phase(
                self.tiles,
                tuple(stage for stage, part in zip(self.stages, parts) if part == number),
                tuple(load for load in loads if loaded[load.buffer] == number),
                tuple(store for store, part in zip(self.stores, stored) if part == number),
            )

    @staticmethod
    def _loaded(loads: Sequence[Stream], readers: dict[int, list[tuple[int, int]]]) -> dict[int, int]:
        """The part in which each load happens: the first that reads it."""
        return {load.buffer: min((part for part, _ in readers[load.buffer]), default=0) for load in loads}

    def _stored(self, store: Stream, loaded: dict[int, int]) -> int:
        """The part in which a store happens."""
        part = self._after(store.buffer, store.axis, loaded.get(store.buffer, 0))
        if store.pick is None:
            return part
        return max(part, self._after(store.index, store.index_axis, loaded.get(store.index, 0)))

    def _part(self, stage: Stage) -> int:
        part = max((self._after(port.buffer, port.axis, 0) for port in stage.inputs), default=0)
        self.made.update({port.buffer: (part, port) for port in stage.outputs})
        return part

    def _after(self, buffer: int, axis: int, otherwise: int) -> int:
        """The first part in which a buffer can be read along `axis`: `otherwise` where no stage here fills it."""
        if buffer not in self.made:
            return otherwise
        part, port = self.made[buffer]
        return part + (port.combine is not None or port.axis not in (WHOLE, axis))

    def _load(self, load: Stream, readers: list[tuple[int, int]], part: int) -> Stream:
        """Whole, unless all that is read in its part is read tile by tile along the axis that it loads."""
        is_tiled = any(at == part for at, _ in readers) and all(axis == load.axis for at, axis in readers if at == part)
        return load if is_tiled else replace(load, axis=WHOLE)

    def _stage(self, stage: decoded.Stage) -> Stage:
        values = _values(stage.body)
        is_cut = any(values[port.value].axis >= 0 for port in (*stage.inputs, *stage.outputs))

        def port(record: decoded.Port) -> Port:
            axis = values[record.value].axis
            combines = bool(record.combine) and is_cut and axis < 0
            return Port(record.value, record.buffer, axis, Combine(record.combine) if combines else None)

        inputs, outputs = tuple(map(port, stage.inputs)), tuple(map(port, stage.outputs))
        return Stage(stage.name, values, _operations(stage.body, values), inputs, outputs)

    def _stream(self, stream: decoded.Stream) -> Stream:
        index = stream.record.index.buffer
        if stream.store and stream.pick is not None:
            nest = stream.body.nest
            values = tuple(TileValue(nest.grown(v.type, v.slicing), WHOLE) for v in stream.body.values)
            operations = _operations(stream.body, values)
            return Stream(stream.slot, stream.buffer, WHOLE, values, operations, stream.pick, index)
        values = _values(stream.body)
        axis = _axis(self.nest, stream.slicing)
        return Stream(stream.slot, stream.buffer, axis, values, _operations(stream.body, values), stream.pick, index)
