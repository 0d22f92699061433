"""Random programs of up to three loops over tensors of up to three axes, with what NumPy makes of them.

Every loop cuts an axis; values have some of the axes. A stage combines values elementwise, may need an axis whole
(softmax), and may reduce over an axis; results are read at any tempo that the rules of nests allow, also behind
barriers. Buffers hold the whole tensor, or are rings of any depth: then the program may be one that cannot run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from ir.op import Array
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.nest import WHOLE, Slicing, level_of
from tests.pef.samples import StageBuilder, op
from tests.runtime.nests import NestBuilder, section

AXES = 3
REDUCTIONS = {"sum": ("sum", np.add), "amax": ("max", np.maximum), "amin": ("min", np.minimum)}


@dataclass
class RandomNest:
    """A program; `expected` are its outputs for `given`."""

    pef: pb.Pef
    given: dict[str, Array]
    expected: dict[str, Array]


@dataclass
class _Held:
    """A buffer with the whole tensor that it ought to hold."""

    buffer: int
    slicing: Slicing
    array: Array
    is_whole: bool
    is_read: bool = False


@dataclass
class _Drawing:
    draw: st.DrawFn
    rings: bool
    dtype: DType
    builder: NestBuilder = field(default_factory=NestBuilder)
    axes: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    symbols: dict[str, str] = field(default_factory=dict)
    given: dict[str, Array] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)
    values: list[_Held] = field(default_factory=list)

    def program(self) -> RandomNest:
        counts = tuple(self.draw(st.lists(st.integers(1, 3), min_size=1, max_size=AXES)))
        self.axes = tuple(self.draw(st.integers(0, AXES - 1)) for _ in counts)
        extents = [self.draw(st.integers(1, 3)) for _ in range(AXES)]
        for axis, count in zip(self.axes, counts):
            extents[axis] *= count
        self.shape = tuple(extents)
        self.builder.phase(*counts)
        self.load(set(range(AXES)))
        for _ in range(self.draw(st.integers(0, 2))):
            self.load(self.draw(st.sets(st.integers(0, AXES - 1))))
        for number in range(self.draw(st.integers(1, 4))):
            self.stage(f"s{number}")
        for number, held in enumerate(self.values):
            if number >= len(self.given) or not held.is_read:
                self.store(f"y{number}", held)
        return RandomNest(section(self.builder.build(), **self.symbols), self.given, self.expected)

    def cut(self, array: Array, whole_axis: int = WHOLE) -> Slicing:
        """The slicing of a value by all loops whose axes it has, but for one axis that is needed whole."""
        return tuple(a if array.shape[a] == self.shape[a] > 1 and a != whole_axis else WHOLE for a in self.axes)

    def depth(self, slicing: Slicing) -> int:
        """Of a buffer: 0 for all of the tensor."""
        depth = self.draw(st.integers(0, 4)) if self.rings else 0
        return depth if depth < self.builder.slices(slicing) else 0

    def load(self, axes: set[int]) -> None:
        """An input that has some of the axes; those without are of extent 1."""
        shape = tuple(extent if axis in axes else 1 for axis, extent in enumerate(self.shape))
        array = np.random.default_rng(len(self.given)).integers(-8, 9, shape).astype(np.float32) / 8
        slicing = self.cut(array) if self.draw(st.booleans()) else ()
        name = f"x{len(self.given)}"
        self.symbols[name], self.given[name] = "input", array
        depth = self.depth(slicing)
        tensor = TensorType(self.dtype, shape)
        buffer = self.builder.loaded(tensor, slicing, depth)
        self.values.append(_Held(buffer, slicing, array, depth == 0))

    def stage(self, name: str) -> None:
        """One more stage, unless the operands drawn leave out a loop outside the stage's level."""
        whole_axis = self.draw(st.sampled_from((WHOLE, WHOLE, 0, 1, 2)))
        operands = [self.draw(st.sampled_from(self.values)) for _ in range(self.draw(st.integers(1, 2)))]
        slicings = [self.cut(operand.array, whole_axis) for operand in operands]
        level = max(map(level_of, slicings))
        if any(all(slicing[loop] == WHOLE for slicing in slicings) for loop in range(level)):
            return
        stage = self.builder.stage(name)
        for operand in operands:
            operand.is_read = True
        read = [stage.read(operand.buffer, slicing) for operand, slicing in zip(operands, slicings)]
        array = np.tanh(operands[0].array)
        made_slicing = slicings[0]
        value = stage.apply(op("tanh"), read[0], axis=made_slicing)
        if len(operands) > 1:
            array = array - operands[1].array
            made_slicing = self.cut(array, whole_axis)
            value = stage.apply(op("sub"), value, read[1], axis=made_slicing)
        if whole_axis != WHOLE:
            shares = np.exp(array - array.max(whole_axis, keepdims=True))
            array = shares / shares.sum(whole_axis, keepdims=True)
            value = stage.apply(op("softmax", dim=whole_axis), value, axis=made_slicing)
        if self.draw(st.booleans()):
            self.reduced(stage, value, array, level, whole_axis)
            if self.draw(st.booleans()):
                self.written(stage, name, value, array, made_slicing, "")
        else:
            self.written(stage, name, value, array, made_slicing, "")
        stage.place()

    def reduced(self, stage: StageBuilder, value: int, array: Array, level: int, whole_axis: int) -> None:
        """The stage reduces the value over an axis; loops that cut it there are combined."""
        axis, name = self.draw(st.integers(0, AXES - 1)), self.draw(st.sampled_from(sorted(REDUCTIONS)))
        combine, ufunc = REDUCTIONS[name]
        total = ufunc.reduce(array, axis=axis, keepdims=True)
        slicing = self.cut(total, whole_axis)
        before = self.cut(array, whole_axis)
        value = stage.apply(op(name, dims=(axis,), keepdim=True), value, axis=slicing)
        combines = before[:level] != slicing[:level]
        self.written(stage, f"{name}{value}", value, total, slicing, combine if combines else "")

    def written(self, stage: StageBuilder, name: str, value: int, array: Array, slicing: Slicing, combine: str) -> None:
        depth = self.depth(slicing)
        buffer = self.builder.hold(name, TensorType(self.dtype, array.shape), slicing, depth)
        stage.write(value, buffer, combine)
        self.values.append(_Held(buffer, slicing, array, depth == 0))

    def store(self, name: str, held: _Held) -> None:
        self.symbols[name], self.expected[name] = "output", held.array
        whole = held.is_whole and (WHOLE in held.slicing[: level_of(held.slicing)] or self.draw(st.booleans()))
        self.builder.stored(held.buffer, () if whole else held.slicing)


@st.composite
def random_nests(draw: st.DrawFn, rings: bool, dtype: DType = DType.F32) -> RandomNest:
    """Programs whose buffers all hold whole tensors, or with rings among them."""
    return _Drawing(draw, rings, dtype).program()
