"""Loop nests: what streams in a phase, when it moves, and who waits for whom.

A phase streams along loops, outer to inner, each cut into a count. A value is cut by some of them: its *slicing* names
one axis per loop, or WHOLE where the loop leaves the value alone. These sentences are all that the checker, the
executors and the timing simulator know of a phase:

1. A stage runs at the level of the innermost loop that cuts one of its ports: it fires once per iteration of the loops
   down to there. A load into a ring, and a streamed store, transfer one slice per iteration in the same way.
2. What a stage writes is cut by each of its loops, or reduced over it. A reduction is complete when the outermost loop
   it reduces ends; what is complete at one time is a *unit* of one or more slices. Any other unit is one slice.
3. A buffer holds `depth` slices, in units that replace one another in turn; if that is the whole tensor, it is
   resident: nothing in it is ever replaced.
4. Writer and reader keep step in the outer loops that both run through slice by slice: their *sync level*. The reader
   may be a block behind: it waits until the writer has finished the block of the same iteration of those loops.
5. A unit may be replaced when all readers have finished the block that it belongs to.
6. A stream may pick the rows of its symbol by an index that lies in a buffer: it moves what the index picks, cut as
   anything is, and reads of the index in each transfer what belongs to the slice. It reads that buffer as a stage does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ir.types import DType, TensorType

WHOLE = -1
"""In a slicing: the loop does not cut the value."""

Slicing = tuple[int, ...]
"""The axis that each loop of a nest cuts, outer to inner; missing entries at the end are WHOLE."""

NEVER = -1
"""The event of nobody: there is nothing to wait for."""


def level_of(slicing: Slicing) -> int:
    """The number of loops down to the innermost that cuts."""
    for loop in range(len(slicing) - 1, -1, -1):
        if slicing[loop] != WHOLE:
            return loop + 1
    return 0


def holds_stored(loaded: Slicing, stored: Slicing) -> bool:
    """Whether what is loaded slice by slice can be stored so in the same loops: it lies in the slice that was loaded,
    which no other iteration loads."""
    if loaded == stored:
        return True
    outer = loaded[: level_of(loaded)]
    return WHOLE not in outer and stored[: len(outer)] == outer


def axis_of(slicing: Slicing, loop: int) -> int:
    """The axis that a loop cuts, or WHOLE."""
    return slicing[loop] if loop < len(slicing) else WHOLE


@dataclass(frozen=True, slots=True)
class Pick:
    """An index into one axis of a symbol: integers of `shape`, whose axes stand for that one in what it picks."""

    axis: int
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Axes of the index."""
        return len(self.shape)

    @property
    def index_type(self) -> TensorType:
        """The type of the index."""
        return TensorType(DType.I32, self.shape)

    def picked(self, symbol: TensorType) -> TensorType:
        """The type of what it picks of a symbol."""
        return symbol.with_shape((*symbol.shape[: self.axis], *self.shape, *symbol.shape[self.axis + 1 :]))

    def slicing(self, slicing: Slicing) -> Slicing:
        """How the loops cut the index, where they cut what it picks so."""
        return tuple(a - self.axis if self.axis <= a < self.axis + self.rank else WHOLE for a in slicing)

    def runs(self, symbol: TensorType, part: TensorType) -> tuple[int, int]:
        """How many stretches of memory a part of what it picks consists of, and the bytes of each."""
        length = 1
        for axis in range(symbol.rank - 1, self.axis, -1):
            extent = part.shape[axis + self.rank - 1]
            length *= extent
            if extent != symbol.shape[axis]:
                break
        return part.numel // length, part.with_shape((length,)).nbytes

    def moved_bytes(self, symbol: TensorType, part: TensorType, burst_bytes: int) -> int:
        """Bytes that memory moves for such a part: every stretch in whole bursts."""
        count, nbytes = self.runs(symbol, part)
        return count * -(-nbytes // burst_bytes) * burst_bytes


@dataclass(frozen=True, slots=True)
class Nest:
    """The counts of a phase's loops, outer to inner."""

    counts: tuple[int, ...]

    def events(self, level: int) -> int:
        """Iterations of the outer `level` loops."""
        return math.prod(self.counts[:level])

    def index(self, event: int, level: int) -> tuple[int, ...]:
        """The indices of the outer `level` loops at one of their iterations."""
        indices = []
        for count in reversed(self.counts[:level]):
            event, index = divmod(event, count)
            indices.append(index)
        return tuple(reversed(indices))

    def slices(self, slicing: Slicing) -> int:
        """The distinct slices of a tensor that is cut so."""
        return math.prod(self.counts[loop] for loop, axis in enumerate(slicing) if axis != WHOLE)

    def fits(self, tensor: TensorType, slicing: Slicing) -> bool:
        """Whether the loops cut the tensor into equal slices."""
        shape = list(tensor.shape)
        for loop, axis in enumerate(slicing):
            if axis == WHOLE:
                continue
            if not 0 <= axis < len(shape) or shape[axis] % self.counts[loop]:
                return False
            shape[axis] //= self.counts[loop]
        return True

    def sliced(self, tensor: TensorType, slicing: Slicing) -> TensorType:
        """The type of one slice. Two loops may cut the same axis: the inner one cuts what the outer one leaves."""
        for loop, axis in enumerate(slicing):
            tensor = tensor.sliced(axis, self.counts[loop])
        return tensor

    def grown(self, tensor: TensorType, slicing: Slicing, level: int = 0) -> TensorType:
        """The inverse of `sliced` for the loops from `level` inwards."""
        shape = list(tensor.shape)
        for loop, axis in enumerate(slicing):
            if loop >= level and axis != WHOLE:
                shape[axis] *= self.counts[loop]
        return tensor.with_shape(tuple(shape))

    def window(self, tensor: TensorType, slicing: Slicing, index: Sequence[int]) -> tuple[slice, ...]:
        """Where in the tensor a slice lies, given the index of every loop that cuts it."""
        starts, extents = [0] * tensor.rank, list(tensor.shape)
        for loop, axis in enumerate(slicing):
            if axis != WHOLE:
                extents[axis] //= self.counts[loop]
                starts[axis] += index[loop] * extents[axis]
        return tuple(slice(start, start + extent) for start, extent in zip(starts, extents))


@dataclass(frozen=True, slots=True)
class Writer:
    """Who fills a buffer: a stage's output, or a load. `slicing` is that of its buffer.

    A resident load transfers each distinct slice once; its events count those.
    """

    nest: Nest
    slicing: Slicing
    level: int
    resident_load: bool = False

    @property
    def events(self) -> int:
        """Firings, or transfers."""
        return self.nest.slices(self.slicing) if self.resident_load else self.nest.events(self.level)

    @property
    def completion(self) -> int:
        """The level of the loops of which each iteration completes a unit."""
        for loop in range(self.level):
            if axis_of(self.slicing, loop) == WHOLE:
                return loop
        return self.level

    @property
    def reduced(self) -> tuple[int, ...]:
        """The loops a stage reduces over; a load into a ring repeats itself over them instead."""
        return tuple(loop for loop in range(self.level) if axis_of(self.slicing, loop) == WHOLE)

    @property
    def unit_slices(self) -> int:
        """Slices that are complete at one time."""
        return self.nest.slices((WHOLE,) * self.completion + self.slicing[self.completion :])


@dataclass(frozen=True, slots=True)
class Load(Writer):
    """A load into a ring: it transfers a slice, and completes it, at every iteration of its loops."""

    @property
    def completion(self) -> int:
        """Every transfer completes a unit of one slice."""
        return self.level

    @property
    def unit_slices(self) -> int:
        """One."""
        return 1


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a buffer: a stage's input, cut as it says and fired at `level`, or a streamed store."""

    nest: Nest
    slicing: Slicing
    level: int

    @property
    def events(self) -> int:
        """Firings, or transfers."""
        return self.nest.events(self.level)


def sync_level(writer: Writer, reader: Reader) -> int:
    """The outer loops in which both keep step: those that neither reads whole, reduces, or runs outside of."""
    read_whole = [
        loop
        for loop in range(writer.level)
        if axis_of(writer.slicing, loop) != WHOLE and axis_of(reader.slicing, loop) == WHOLE
    ]
    return min(writer.completion, reader.level, *read_whole)


def needed(writer: Writer, reader: Reader, event: int) -> int:
    """The last event of the writer that the reader's `event` waits for."""
    if writer.resident_load:
        return _needed_of_resident(writer, reader, event)
    level = sync_level(writer, reader)
    block = event // (reader.events // reader.nest.events(level))
    return (block + 1) * (writer.events // writer.nest.events(level)) - 1


def _needed_of_resident(writer: Writer, reader: Reader, event: int) -> int:
    """Of a resident load, transfers in order of the distinct slices: the last that the reader's slice overlaps."""
    index = reader.nest.index(event, reader.level)
    number = 0
    for loop, axis in enumerate(writer.slicing):
        if axis != WHOLE:
            known = loop < reader.level and axis_of(reader.slicing, loop) == axis
            number = number * writer.nest.counts[loop] + (index[loop] if known else writer.nest.counts[loop] - 1)
    return number


def freed_by(writer: Writer, reader: Reader, depth: int, event: int) -> int:
    """The reader's event that must have finished before the writer's `event` may begin, or NEVER."""
    if writer.resident_load or depth >= writer.nest.slices(writer.slicing):
        return NEVER
    nest, completion, level = writer.nest, writer.completion, sync_level(writer, reader)
    unit = event // (writer.events // nest.events(completion)) - depth // writer.unit_slices
    if unit < 0:
        return NEVER
    block = unit // (nest.events(completion) // nest.events(level))
    return (block + 1) * (reader.events // nest.events(level)) - 1


def least_depth(writer: Writer, reader: Reader) -> int:
    """The fewest slices that a buffer between the two must hold to run at all: one block of their sync level."""
    nest, level = writer.nest, sync_level(writer, reader)
    whole = nest.slices(writer.slicing)
    if writer.resident_load:
        return whole
    return min(whole, nest.events(writer.completion) // nest.events(level) * writer.unit_slices)


def slot(writer: Writer, depth: int, index: Sequence[int]) -> int:
    """Which of the buffer's `depth` places holds the slice that the writer makes at this index of its loops."""
    if writer.resident_load or depth >= writer.nest.slices(writer.slicing):
        loops = [loop for loop in range(len(writer.slicing)) if writer.slicing[loop] != WHOLE]
        return _number(writer.nest, loops, index)
    inner = range(writer.completion, writer.level)
    within = _number(writer.nest, [loop for loop in inner if axis_of(writer.slicing, loop) != WHOLE], index)
    unit = _number(writer.nest, range(writer.completion), index)
    return unit % (depth // writer.unit_slices) * writer.unit_slices + within


def _number(nest: Nest, loops: Sequence[int], index: Sequence[int]) -> int:
    number = 0
    for loop in loops:
        number = number * nest.counts[loop] + index[loop]
    return number


def read_slices(writer: Writer, reader: Reader, event: int) -> Iterator[tuple[int, ...]]:
    """The indices of the writer's loops at which it made the slices that the reader's `event` reads, in order.

    Loops that the writer cuts by and the reader does not are read whole; where the writer reduces, or repeats itself,
    any index stands for all, and the last is given, or the reader's own.
    """
    own = reader.nest.index(event, reader.level)
    indices: list[tuple[int, ...]] = [()]
    for loop in range(max(writer.level, level_of(writer.slicing))):
        count = writer.nest.counts[loop]
        if axis_of(writer.slicing, loop) == WHOLE:
            choices = [own[loop] if loop < len(own) else count - 1]
        elif loop < reader.level and axis_of(reader.slicing, loop) == axis_of(writer.slicing, loop):
            choices = [own[loop]]
        else:
            choices = list(range(count))
        indices = [(*index, choice) for index in indices for choice in choices]
    yield from indices
