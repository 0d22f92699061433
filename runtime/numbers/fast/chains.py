"""Elementwise operators that follow one another become one step: block by block in the first-level cache, by compiled
loops (`ir/kernels/native/chains.py`), in which what nobody else reads never leaves it.

Every element is computed by itself, and each operator makes the bits that it makes alone. Without the loops every
operator is a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from types import ModuleType
from typing import Any

import numpy as np

from ir.kernels.native import load
from ir.op import Array, Op
from ir.types import DType, TensorType
from runtime.numbers.fast.plan import Step
from runtime.numbers.fast.scratch import Temporaries
from runtime.numbers.fast.views import same_view

LEAST_ELEMENTS = 4096
"""Elements of a result from which the loops are worth being loaded."""


STREAMED_BYTES = 1 << 24
"""Bytes of an array, about half of a third-level cache, from which nobody finds in the cache what was written there a
while ago. What goes to memory past the cache takes half the traffic, as its lines are not read before."""

LEAST_STREAM = 128
"""Elements of a row from which that is worth it."""


@dataclass(frozen=True)
class Call:
    """A step of a stage with what is known of it."""

    kernel: Callable[..., Any]
    arguments: tuple[Any, ...]
    loop: str = ""
    """Of an elementwise operator, whose arguments are its operands, its result, and temporary memory: see `Op.loop`."""
    numbers: tuple[float, ...] = ()
    """What the loop takes behind the operands."""
    operands: int = 0
    number: int = 0
    """The operation of the stage that it belongs to."""
    last: int | None = None
    """The operation after which nobody reads the result; None where the result has to stay."""
    streams: bool = False
    """Whether the result is better not kept in the cache: see `STREAMED_BYTES`."""

    @classmethod
    def of(cls, op: Op, kernel: Callable[..., Any], arguments: tuple[Any, ...], operands: int, number: int) -> Call:
        """The call of an operator."""
        loop, numbers = op.loop if op.is_elementwise else ("", ())
        return cls(kernel, arguments, loop, numbers, operands, number)

    @classmethod
    def copy(cls, source: Array, target: Array, streams: bool) -> Call:
        """The call that copies an array."""
        return cls(_copy, (source, target), "stream" if streams else "", operands=1)

    @property
    def result(self) -> Array:
        """The array that it writes."""
        array: Array = self.arguments[self.operands]
        return array

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of its result without extents of 1; None where no chain takes it."""
        if not self.loop or self.result.size < LEAST_ELEMENTS:
            return None
        operands = self.arguments[: self.operands]
        kinds: list[np.dtype[Any]] = [np.dtype(np.float32)] * (self.operands + 1)
        if self.loop == "where":
            kinds[0] = np.dtype(np.bool_)
        if [array.dtype for array in (*operands, self.result)] != kinds:
            return None
        return tuple(extent for extent in self.result.shape if extent != 1) or None


def steps_of(calls: Sequence[Call], temporaries: Temporaries) -> Iterator[Step]:
    """The steps of a stage."""
    for shape, group in groupby(calls, key=lambda call: call.shape):
        members = list(group)
        loops = load("chains") if shape is not None else None
        if loops is None or shape is None:
            yield from ((call.kernel, call.arguments) for call in members)
            continue
        chain = _Chain(loops, len(shape))
        for call in members:
            if not chain.add(call):
                yield from chain.steps(temporaries)
                chain = _Chain(loops, len(shape))
                if not chain.add(call):
                    yield call.kernel, call.arguments
        yield from chain.steps(temporaries)


@dataclass
class _Chain:
    """Calls of which a block may be computed by all before the next."""

    loops: ModuleType
    rank: int
    calls: list[Call] = field(default_factory=list)
    arrays: list[list[Array]] = field(default_factory=list)
    """Of every call: its operands, the numbers of its loop, and its result, with as many axes as the shape."""

    def add(self, call: Call) -> bool:
        """Append a call; False, and nothing done, where the loops do not take it, or where it reads or writes other
        elements of what a member writes, or writes other elements of what one reads."""
        if call.loop not in self.loops.CODES:
            return False
        *operands, made = (_squeezed(array, call) for array in call.arguments[: call.operands + 1])
        numbers = np.array(call.numbers, np.float32)
        arrays = [*operands, *([numbers[:1].reshape([1] * self.rank)] if call.numbers else []), made]
        written = [members[-1] for members in self.arrays]
        present = [array for members in self.arrays for array in members]
        if any(_apart(array, other) for array in arrays for other in written):
            return False
        if any(_apart(arrays[-1], other) for other in (*present, *arrays)):
            return False
        self.calls.append(call)
        self.arrays.append(arrays)
        laid_out = self._laid_out()
        if laid_out is None or (call.loop == "stream" and laid_out[0][-1] < LEAST_STREAM):
            del self.calls[-1], self.arrays[-1]
            return False
        return True

    def steps(self, temporaries: Temporaries) -> Iterator[Step]:
        """The chain as one step; none where it is empty. What was made before of the same is not made again."""
        laid_out = self._laid_out() if self.calls else None
        if laid_out is None:
            return
        extents, strides = laid_out
        block = TensorType(DType.F32, (self.loops.BLOCK,))
        end = self.calls[-1].number
        held: list[Array] = []
        slots: list[list[int]] = []
        results: list[tuple[Array, int]] = []  # what was made so far, and in which slot it is
        known: dict[tuple[object, ...], int] = {}  # the block that holds what a loop makes of the slots that it reads
        program, names = [], []

        def number_of(slot: list[int]) -> int:
            if slot not in slots:
                slots.append(slot)
            return slots.index(slot)

        def in_memory(array: Array) -> int:
            each = strides[id(array)]
            return number_of([array.ctypes.data, each[-1], each[-1], *each[:-1]])

        for call, arrays in zip(self.calls, self.arrays):
            *given, made = arrays
            operands = []
            for array in given:
                found = next((number for other, number in reversed(results) if same_view(other, array)), None)
                operands.append(in_memory(array) if found is None else found)
            same = call.loop, call.numbers, *operands[: call.operands]
            is_local = call.last is not None and call.last <= end
            if is_local and same in known:
                results.append((made, known[same]))
                continue
            streams = call.streams and extents[-1] >= LEAST_STREAM
            if is_local or streams:
                held.append(temporaries.take(block)[1])
                result = number_of([held[-1].ctypes.data, 0, made.itemsize, *[0] * (len(extents) - 1)])
            else:
                result = in_memory(made)
            program.append([self.loops.CODES[call.loop], result, *operands, *[result] * (3 - len(operands))])
            if is_local:
                known[same] = result
            else:
                place = in_memory(made)
                known = {key: number for key, number in known.items() if place not in key[2:]}
                if streams:
                    program.append([self.loops.CODES["stream"], place, result, result, result])
            results.append((made, result))
            names.append(call.loop)
        for memory in held:
            temporaries.give_back(memory, block)
        numbers_of = partial(np.array, dtype=np.int64)
        is_streamed = any(row[0] == self.loops.CODES["stream"] for row in program)
        length = self.loops.STREAMED_BLOCK if is_streamed else self.loops.BLOCK
        arguments = numbers_of(program), numbers_of(slots), numbers_of(extents), length, [self.arrays, held]
        yield _named("+".join(names), self.loops), (self.calls[-1].result, *arguments)

    def _laid_out(self) -> tuple[list[int], dict[int, list[int]]] | None:
        """The extents of the axes, outermost first, as few as can be, and the strides of every array along them; None
        where neighbours along the last one are no neighbours in an array."""
        arrays = [array for members in self.arrays for array in members]
        first = self.arrays[0][-1]
        order = sorted(range(self.rank), key=lambda axis: -abs(first.strides[axis]))
        extents = [first.shape[axis] for axis in order]
        strides = [[0 if array.shape[axis] == 1 else array.strides[axis] for axis in order] for array in arrays]
        for axis in range(self.rank - 2, -1, -1):
            if all(each[axis] == each[axis + 1] * extents[axis + 1] for each in strides):
                extents[axis : axis + 2] = [extents[axis] * extents[axis + 1]]
                for each in strides:
                    del each[axis]
        members_of = zip(self.calls, self.arrays)
        whole = {
            id(array)
            for call, members in members_of
            if call.loop in self.loops.WHOLE
            for array in (*members[: call.operands], members[-1])
        }
        for array, each in zip(arrays, strides):
            if each[-1] != array.itemsize and (each[-1] != 0 or id(array) in whole):
                return None
        if any(members[-1].size != math.prod(extents) for members in self.arrays):
            return None
        return extents, {id(array): each for array, each in zip(arrays, strides)}


def _copy(source: Array, target: Array) -> None:
    np.copyto(target, source)


def _named(name: str, loops: ModuleType) -> Callable[..., None]:
    """The step of a chain, which keeps its arrays alive."""

    def chain(result: Array, program: Array, slots: Array, extents: Array, block: int, arrays: object) -> None:
        loops.run(program, slots, extents, block)

    chain.__name__ = name
    return chain


def _apart(array: Array, other: Array) -> bool:
    """Whether the arrays may share memory other than element by element."""
    return np.may_share_memory(array, other) and not same_view(array, other)


def _squeezed(array: Array, call: Call) -> Array:
    """An argument with as many axes as the result has without its extents of 1."""
    spread: Array = array[(None,) * (call.result.ndim - array.ndim)]
    squeezed: Array = spread[tuple(0 if extent == 1 else slice(None) for extent in call.result.shape)]
    return squeezed
