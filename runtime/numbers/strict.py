"""The strict executor: what a PEF means, in numbers, written to be read.

It follows `pef.nest` to the letter. A ring is an array of the declared number of slices; stages and streams wait for
one another exactly as `needed` and `freed_by` say; a stage computes one slice per operator and firing, and every value
is an array of its own. Which of the actors that may fire comes first cannot change a result. Where none may, the
buffers are too short for the program, and the run ends with an error that names who waits.

The fast executor (`runtime.numbers.fast.executor`) gives the same numbers but for the association of float sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from ir.errors import IllegalPefError, Problem
from ir.kernels.gemm import OneThread
from ir.kernels.places import check_index
from ir.op import Array, Combine
from ir.rounding import narrow, round_to_bf16, widen
from ir.types import DType, TensorType
from pef.decoded import Access, Body, Buffer, Configuration, Phase, Stage, Stream
from pef.decoded_pef import DecodedPef
from pef.nest import WHOLE, Nest, Reader, Writer, freed_by, needed, read_slices, slot
from runtime.collective import Collective, Exchange
from runtime.numbers.combiners import COMBINERS
from runtime.numbers.memory import Memory
from runtime.numbers.origin import kernel_at, naming_sources
from runtime.numbers.simulator import Run


class Observer(Protocol):
    """Sees every slice that becomes complete in a buffer, and may change it before anybody reads it."""

    def complete(
        self, configuration: Configuration, maker: Stage | Stream, port: int, window: tuple[slice, ...], array: Array
    ) -> None:
        """`maker` has written `array`, the part `window` of the tensor in the buffer of its output `port`."""


class StrictSimulator:
    """Sections of a legal PEF over `memory`, one slice per kernel call, on one thread."""

    threads = 1

    def __init__(self, pef: DecodedPef, memory: Memory, observer: Observer | None = None) -> None:
        self._pef = pef
        self._observer = observer
        self._memory = memory
        self._exchange = Exchange()
        self._blas = OneThread()

    def lay_out(self, sections: Sequence[int]) -> Run:
        """Nothing is laid out: a run executes the sections as they were decoded."""
        return partial(self._run, sections)

    def _run(self, sections: Sequence[int], collective: Collective) -> None:
        self._exchange.collective = collective
        with self._blas, np.errstate(all="ignore"):
            for number in sections:
                section = self._pef.record.sections[number]
                configuration = self._pef.configuration(section.configuration)
                with naming_sources(self._pef, number):
                    _Section(configuration, section.bindings, self._memory, self._exchange, self._observer).run()

    def close(self) -> None:
        """There are no threads to give back."""


class _Section:
    """One execution of one section. Loads see every symbol as it was when the section began."""

    def __init__(
        self,
        configuration: Configuration,
        bindings: Sequence[int],
        memory: Memory,
        exchange: Exchange,
        observer: Observer | None = None,
    ) -> None:
        self.configuration = configuration
        self.observer = observer
        self.exchange = exchange
        self.symbols = [memory.views[symbol] for symbol in bindings]
        streams = [stream for phase in configuration.phases for stream in phase.streams]
        self.before = {stream.slot: self.symbols[stream.slot].copy() for stream in streams if not stream.store}
        self.buffers = [_Contents(buffer) for buffer in configuration.buffers]

    def run(self) -> None:
        """Phase by phase."""
        for number, phase in enumerate(self.configuration.phases):
            writes = [access for access in self.configuration.writes if access.phase == number]
            self.writers = {access.buffer: self.configuration.writer(access) for access in writes}
            _run_to_the_end(self._actors(phase, writes))

    def _actors(self, phase: Phase, writes: Sequence[Access]) -> list[_Actor]:
        """The phase's streams and stages, each with what it waits for."""
        actors: dict[tuple[str, int], _Actor] = {}
        for number, stream in enumerate(phase.streams):
            if stream.store:
                reader = Reader(phase.nest, stream.slicing, stream.level)
                actors["stream", number] = _Actor(stream.where, reader.events, partial(self._store, stream, reader))
            else:
                writer = self.writers[stream.buffer]
                actors["stream", number] = _Actor(stream.where, writer.events, partial(self._load, stream, writer))
        for number, stage in enumerate(phase.stages):
            actors["stage", number] = _Actor(stage.where, stage.events, partial(self._fire, stage))
        for write in writes:
            for read in self.configuration.readers[write.buffer]:
                if read.phase == write.phase:
                    self._connect(write, read, actors)
        return list(actors.values())

    def _connect(self, write: Access, read: Access, actors: dict[tuple[str, int], _Actor]) -> None:
        """Let the writer and a reader of a buffer wait for one another."""
        writer, reader = self.writers[write.buffer], self.configuration.reader(read)
        buffer = self.configuration.buffers[write.buffer]
        actors[read.actor].waits.append(_Wait(actors[write.actor], partial(needed, writer, reader)))
        if buffer.is_ring:
            freed = partial(freed_by, writer, reader, buffer.depth)
            actors[write.actor].waits.append(_Wait(actors[read.actor], freed))

    def _load(self, stream: Stream, writer: Writer, event: int) -> None:
        """One transfer from a symbol to a buffer."""
        index = _transfer_index(writer, event)
        tensor = self.configuration.slots[stream.slot]
        window = writer.nest.window(stream.picked(tensor), stream.slicing, index)
        source = _part(self.before[stream.slot], self._places(stream, window, writer.nest, event))
        place = self.buffers[stream.buffer].place(writer, index)
        if tensor.dtype is DType.BF16:
            widen(source, place)
        else:
            np.copyto(place, source)
        if self.observer is not None:
            self.observer.complete(self.configuration, stream, 0, window, place)

    def _store(self, stream: Stream, reader: Reader, event: int) -> None:
        """One transfer from a buffer to a symbol, through free operators."""
        moved = self.buffers[stream.buffer].read(self.writers.get(stream.buffer), reader, event)
        if stream.body.applications:
            moved = self._applied(stream.body, {0: moved}, set())[len(stream.body.values) - 1]
        tensor, index = self.configuration.slots[stream.slot], reader.nest.index(event, reader.level)
        window = reader.nest.window(stream.picked(tensor), stream.symbol_slicing, index)
        symbol = self.symbols[stream.slot]
        target = np.empty(moved.shape, symbol.dtype) if stream.pick is not None else _part(symbol, window)
        if tensor.dtype is DType.BF16:
            narrow(moved, target)
        else:
            np.copyto(target, moved)
        if stream.pick is not None:
            symbol[self._places(stream, window, reader.nest, event)] = target

    def _places(self, stream: Stream, window: tuple[slice, ...], nest: Nest, event: int) -> tuple[slice | Array, ...]:
        """Where in the symbol a window lies: itself, or along one axis the places that the index names."""
        pick = stream.pick
        if pick is None:
            return window
        reader = Reader(nest, stream.index_slicing, stream.level)
        number = stream.record.index.buffer
        rows = self.buffers[number].read(self.writers.get(number), reader, event)
        check_index(rows, self.configuration.slots[stream.slot].shape[pick.axis])
        return (*window[: pick.axis], rows, *window[pick.axis + pick.rank :])

    def _fire(self, stage: Stage, event: int) -> None:
        """Read a slice by every input, apply the operators, write or combine every output."""
        nest = stage.body.nest
        values: dict[int, Array] = {}
        for port in stage.inputs:
            reader = Reader(nest, port.slicing, stage.level)
            values[port.value] = self.buffers[port.buffer].read(self.writers.get(port.buffer), reader, event)
        self._applied(stage.body, values, _partial_values(stage))
        index = nest.index(event, stage.level)
        for number, port in enumerate(stage.outputs):
            writer = self.writers[port.buffer]
            place = self.buffers[port.buffer].place(writer, index)
            reduced = writer.reduced if port.combine else ()
            if all(index[loop] == 0 for loop in reduced):
                np.copyto(place, values[port.value])
            else:
                COMBINERS[Combine(port.combine)](place, values[port.value], place)
            is_complete = all(index[loop] == nest.counts[loop] - 1 for loop in reduced)
            if port.combine and is_complete and self.buffers[port.buffer].type.dtype is DType.BF16:
                round_to_bf16(place)
            if self.observer is not None and (is_complete or not port.combine):
                window = nest.window(self.buffers[port.buffer].type, writer.slicing, index)
                self.observer.complete(self.configuration, stage, number, window, place)

    def _applied(self, body: Body, values: dict[int, Array], unrounded: set[int]) -> dict[int, Array]:
        """The values with the results of all operators, each an array of its own."""
        for application in body.applications:
            op, operands = application.op, [values[i] for i in application.operands]
            results = [_array(tensor) for tensor in body.types(application.results)]
            scratch = [_array(tensor) for tensor in op.scratch(*body.types(application.operands))]
            kernel = self.exchange.mean if op.exchanges else kernel_at(op, application.where)
            kernel(*operands, *results, *scratch)
            for index, result in zip(application.results, results):
                if body.values[index].type.dtype is DType.BF16 and index not in unrounded:
                    round_to_bf16(result)
                values[index] = result
        return values


class _Contents:
    """What a buffer holds: `depth` slices in an array, or the tensor where that is all of them; NaN where undefined."""

    def __init__(self, buffer: Buffer) -> None:
        self.type = buffer.type
        self.depth = buffer.depth
        self.is_ring = buffer.is_ring
        one = buffer.home.sliced(buffer.type, buffer.slicing)
        shape = (buffer.depth, *one.shape) if buffer.is_ring else buffer.type.shape
        self.array: Array = np.full(shape, np.nan if buffer.type.dtype.is_float else 0, buffer.type.dtype.compute)

    def place(self, writer: Writer, index: Sequence[int]) -> Array:
        """Where the slice belongs that the writer makes at this index of its loops."""
        if self.is_ring:
            return _part(self.array, (slot(writer, self.depth, index),))
        return _part(self.array, self._window(writer, index))

    def read(self, writer: Writer | None, reader: Reader, event: int) -> Array:
        """A copy of what a reader's event reads; there is no writer where an earlier phase filled the buffer."""
        wanted = self._window(reader, reader.nest.index(event, reader.level))
        if writer is None or not self.is_ring:
            return np.array(_part(self.array, wanted))
        result: Array = np.empty([extent.stop - extent.start for extent in wanted], self.array.dtype)
        for index in read_slices(writer, reader, event):
            made = self._window(writer, index)
            common = [slice(max(m.start, w.start), min(m.stop, w.stop)) for m, w in zip(made, wanted)]
            if all(extent.start < extent.stop for extent in common):
                source = _part(self.place(writer, index), _within(made, common))
                np.copyto(_part(result, _within(wanted, common)), source)
        return result

    def _window(self, user: Writer | Reader, index: Sequence[int]) -> tuple[slice, ...]:
        return user.nest.window(self.type, user.slicing, index)


def _part(array: Array, where: Sequence[slice | int | Array]) -> Array:
    """A view, also of a single number; a copy where it is picked."""
    indices = (*where, ...)
    part: Array = array[indices]
    return part


def _within(window: Sequence[slice], part: Sequence[slice]) -> tuple[slice, ...]:
    """A part of a tensor as it lies in a window onto the tensor."""
    return tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, window))


def _array(tensor: TensorType) -> Array:
    return np.empty(tensor.shape, tensor.dtype.compute)


def _transfer_index(writer: Writer, event: int) -> tuple[int, ...]:
    """The index of the loops at one of a load's transfers: a resident load does not iterate what does not cut it."""
    if not writer.resident_load:
        return writer.nest.index(event, writer.level)
    cutting = [count if axis != WHOLE else 1 for count, axis in zip(writer.nest.counts, writer.slicing)]
    return Nest(tuple(cutting)).index(event, len(cutting))


def _partial_values(stage: Stage) -> set[int]:
    """The values that are summed up, and those that are views of one another with them: rounded when complete."""
    partial_values = {port.value for port in stage.outputs if port.combine}
    for application in reversed(stage.body.applications):
        if application.op.is_free and partial_values.intersection(application.results):
            partial_values.update(application.operands)
    return partial_values


@dataclass(frozen=True)
class _Wait:
    """What an actor waits for: another one's last event that must be over before an event of its own."""

    actor: _Actor
    last: Callable[[int], int]

    def is_over(self, event: int) -> bool:
        """Whether the event need not wait."""
        return self.actor.done > self.last(event)


@dataclass
class _Actor:
    """A stage or stream of a phase: `fire` executes one of its `events`, of which `done` are over."""

    where: str
    events: int
    fire: Callable[[int], None]
    done: int = 0
    waits: list[_Wait] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether there is no event left."""
        return self.done == self.events

    def may_fire(self) -> bool:
        """Whether the next event has all it waits for."""
        return not self.is_done and all(wait.is_over(self.done) for wait in self.waits)


def _run_to_the_end(actors: Sequence[_Actor]) -> None:
    """Fire who may, turn by turn, until all are done. Raises IllegalPefError where nobody may."""
    while not all(actor.is_done for actor in actors):
        ready = [actor for actor in actors if actor.may_fire()]
        IllegalPefError.raise_if([] if ready else [_stuck(actor) for actor in actors if not actor.is_done])
        for actor in ready:
            actor.fire(actor.done)
            actor.done += 1


def _stuck(actor: _Actor) -> Problem:
    others = dict.fromkeys(wait.actor.where for wait in actor.waits if not wait.is_over(actor.done))
    message = f"firing {actor.done} of {actor.events} waits for ever for {', '.join(others)}"
    return Problem(message, actor.where, "make the ring between them deeper, or recompile the model")
