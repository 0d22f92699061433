"""Programs of several loops, built by hand, each with what plain NumPy makes of it.

A slicing is a tuple: the axis that each loop cuts, outer to inner, -1 for none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ir.op import Array, Op
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_op, encode_type
from pef.machine import SiteKind
from pef.nest import Nest, Slicing
from tests.pef.samples import ConfigurationBuilder, PefBuilder, StageBuilder, op


class NestStage(StageBuilder):
    """One stage of a nest: `get` and `put` its slices, `call` its operators."""

    parent: NestBuilder

    def get(self, buffer: int, slicing: Slicing = ()) -> int:
        """An input port; the value it brings."""
        self.record.inputs.add(value=len(self.record.values), buffer=buffer)
        return self._sliced(self.parent.slice_type(buffer, slicing), slicing)

    def call(self, operator: Op, *operands: int, slicing: Slicing = ()) -> int:
        """An operation; its (one) result."""
        (result,) = operator.results(*(self.parent.decoded(self.record.values[i].type) for i in operands))
        self.record.operations.append(encode_op(operator, operands, [len(self.record.values)]))
        return self._sliced(result, slicing)

    def put(self, value: int, buffer: int, combine: str = "") -> None:
        """An output port."""
        self.record.outputs.add(value=value, buffer=buffer, combine=combine)

    def _sliced(self, tensor: TensorType, slicing: Slicing) -> int:
        self.record.values.add(type=encode_type(tensor), axes=slicing)
        return len(self.record.values) - 1


class NestBuilder(ConfigurationBuilder):
    """A configuration of phases with any number of loops."""

    def nest(self, *counts: int) -> None:
        """A new phase."""
        self.record.phases.add(loops=counts)

    def hold(self, name: str, tensor: TensorType, slicing: Slicing = (), depth: int = 0, pmus: int = 1) -> int:
        """A buffer of the last phase's nest: a ring of `depth` slices, or the whole tensor where depth is 0."""
        counts = [c if axis >= 0 else 1 for c, axis in zip(self._nest.counts, slicing)]
        buffer = self.record.buffers.add(name=name, type=encode_type(tensor), axes=slicing, counts=counts)
        buffer.depth = depth or self._nest.slices(slicing)
        buffer.units.extend(self.take(SiteKind.PMU, pmus))
        return len(self.record.buffers) - 1

    def loaded(self, tensor: TensorType, slicing: Slicing = (), depth: int = 0) -> int:
        """A buffer filled from the next slot."""
        slot = self.slot(tensor)
        buffer = self.hold(f"in{slot}", tensor, slicing, depth)
        self._move(False, slot, buffer, slicing)
        return buffer

    def stored(self, buffer: int, slicing: Slicing = ()) -> None:
        """A buffer stored to the next slot."""
        self._move(True, self.slot(self.decoded(self.record.buffers[buffer].type)), buffer, slicing)

    def work(self, name: str) -> NestStage:
        """A new stage of the last phase."""
        return NestStage(self, self.record.phases[-1].stages.add(name=name))

    def slices(self, slicing: Slicing) -> int:
        """The slices of a tensor that the last phase cuts so."""
        return self._nest.slices(slicing)

    def slice_type(self, buffer: int, slicing: Slicing) -> TensorType:
        """What the last phase sees of a buffer that is cut so."""
        return self._nest.sliced(self.decoded(self.record.buffers[buffer].type), slicing)

    @property
    def _nest(self) -> Nest:
        return Nest(tuple(self.record.phases[-1].loops))

    def _move(self, store: bool, slot: int, buffer: int, slicing: Slicing) -> None:
        agcus = [3 if store else 0]
        stream = self.record.phases[-1].streams.add(store=store, slot=slot, buffer=buffer, axes=slicing, agcus=agcus)
        stream.values.add(type=encode_type(self.slice_type(buffer, slicing)), axes=slicing)


@dataclass(frozen=True)
class Example:
    """A program of one section, and what NumPy makes of its inputs."""

    pef: pb.Pef
    expected: Callable[[Mapping[str, Array]], dict[str, Array]]


def section(configuration: pb.Configuration, **symbols: str) -> pb.Pef:
    """A PEF of one section, whose slots are symbols of these names and kinds in order."""
    p = PefBuilder()
    number = p.configuration(configuration)
    slots = [ConfigurationBuilder.decoded(slot) for slot in configuration.slots]
    bound = [p.symbol(name, tensor, kind) for tensor, (name, kind) in zip(slots, symbols.items(), strict=True)]
    p.section("FWD", "fwd_0", number, *bound)
    return p.record


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    shares: Array = e / e.sum(-1, keepdims=True)
    return shares


def _f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def _product(dtype: DType = DType.F32) -> Op:
    return op("matmul", dtype=dtype)


TURNED = op("permute", dims=(0, 2, 1))


def attention(heads: int = 4, length: int = 32, width: int = 8, rows: int = 4) -> Example:
    """softmax(q k^T) v for a head at a time, and within it for a block of rows: the scores are never whole."""
    b = NestBuilder()
    b.nest(heads, length // rows)
    tensor, scores = _f32(heads, length, width), _f32(heads, length, length)
    q, k, v = b.loaded(tensor, (0, 1), 2), b.loaded(tensor, (0,), 2), b.loaded(tensor, (0,), 2)
    held = [b.hold(name, scores, (0, 1), 2) for name in ("scores", "shares")]
    out = b.hold("out", tensor, (0, 1), 2)
    stage = b.work("scores")
    block, turned = stage.get(q, (0, 1)), stage.call(TURNED, stage.get(k, (0,)), slicing=(0,))
    stage.put(stage.call(_product(), block, turned, slicing=(0, 1)), held[0])
    stage.place()
    stage = b.work("softmax")
    stage.put(stage.call(op("softmax", dim=2), stage.get(held[0], (0, 1)), slicing=(0, 1)), held[1])
    stage.place()
    stage = b.work("values")
    stage.put(stage.call(_product(), stage.get(held[1], (0, 1)), stage.get(v, (0,)), slicing=(0, 1)), out)
    stage.place()
    b.stored(out, (0, 1))
    pef = section(b.build(), q="input", k="input", v="input", out="output")
    return Example(pef, lambda x: {"out": _softmax(x["q"] @ x["k"].transpose(0, 2, 1)) @ x["v"]})


def attention_of_three_loops() -> Example:
    """The same with a mask per sample: samples, heads, rows."""
    b = NestBuilder()
    b.nest(2, 3, 2)
    tensor, scores = _f32(2, 3, 8, 4), _f32(2, 3, 8, 8)
    q, k = b.loaded(tensor, (0, 1, 2), 2), b.loaded(tensor, (0, 1), 1)
    mask = b.loaded(_f32(2, 1, 1, 8), (0,), 1)
    shares = b.hold("shares", scores, (0, 1, 2), 1)
    held = b.hold("scores", scores, (0, 1, 2), 2)
    stage = b.work("scores")
    turned = stage.call(op("permute", dims=(0, 1, 3, 2)), stage.get(k, (0, 1)), slicing=(0, 1))
    stage.put(stage.call(_product(), stage.get(q, (0, 1, 2)), turned, slicing=(0, 1, 2)), held)
    stage.place()
    stage = b.work("softmax")
    masked = stage.call(op("add"), stage.get(held, (0, 1, 2)), stage.get(mask, (0,)), slicing=(0, 1, 2))
    stage.put(stage.call(op("softmax", dim=3), masked, slicing=(0, 1, 2)), shares)
    stage.place()
    b.stored(shares, (0, 1, 2))
    pef = section(b.build(), q="input", k="input", mask="input", shares="output")
    return Example(pef, lambda x: {"shares": _softmax(x["q"] @ x["k"].transpose(0, 1, 3, 2) + x["mask"])})


def streamed_again(resident: bool = False) -> Example:
    """x @ w by columns of w, and within them by rows of x, which are loaded again for every block of columns."""
    b = NestBuilder()
    b.nest(3, 4)
    x, w = b.loaded(_f32(32, 16), (-1, 0), 0 if resident else 2), b.loaded(_f32(16, 24), (1,), 2)
    y = b.hold("y", _f32(32, 24), (1, 0), 2)
    stage = b.work("product")
    stage.put(stage.call(_product(), stage.get(x, (-1, 0)), stage.get(w, (1,)), slicing=(1, 0)), y)
    stage.place()
    b.stored(y, (1, 0))
    pef = section(b.build(), x="input", w="parameter", y="output")
    return Example(pef, lambda given: {"y": given["x"] @ given["w"]})


def summed_inside(dtype: DType = DType.F32) -> Example:
    """tanh(x @ w) by rows, and within them by terms of the product, complete when the inner loop ends."""
    b = NestBuilder()
    b.nest(4, 3)
    x, w = b.loaded(TensorType(dtype, (32, 24)), (0, 1), 2), b.loaded(TensorType(dtype, (24, 8)), (-1, 0), 2)
    total, y = b.hold("sum", TensorType(dtype, (32, 8)), (0,), 2), b.hold("y", TensorType(dtype, (32, 8)), (0,), 2)
    stage = b.work("product")
    terms = stage.call(_product(dtype), stage.get(x, (0, 1)), stage.get(w, (-1, 0)), slicing=(0,))
    stage.put(terms, total, "sum")
    stage.place()
    stage = b.work("tanh")
    stage.put(stage.call(op("tanh"), stage.get(total, (0,)), slicing=(0,)), y)
    stage.place()
    b.stored(y, (0,))
    pef = section(b.build(), x="input", w="parameter", y="output")
    return Example(pef, lambda given: {"y": np.tanh(given["x"] @ given["w"])})


def summed_outside(dtype: DType = DType.F32) -> Example:
    """x^T dy over rows, and within them by columns of dy; scaled by columns in a phase of its own."""
    b = NestBuilder()
    b.nest(8, 3)
    x, dy = b.loaded(TensorType(dtype, (64, 8)), (0,), 2), b.loaded(TensorType(dtype, (64, 24)), (0, 1), 2)
    total = b.hold("sum", TensorType(dtype, (8, 24)), (-1, 1))
    stage = b.work("product")
    turned = stage.call(op("permute", dims=(1, 0)), stage.get(x, (0,)), slicing=(1,))
    terms = stage.call(_product(dtype), turned, stage.get(dy, (0, 1)), slicing=(-1, 1))
    stage.put(terms, total, "sum")
    stage.place()
    b.nest(2, 2)
    scaled = b.hold("scaled", TensorType(dtype, (8, 24)), (1, 0), 1)
    stage = b.work("double")
    value = stage.get(total, (1, 0))
    stage.put(stage.call(op("add"), value, value, slicing=(1, 0)), scaled)
    stage.place()
    b.stored(scaled, (1, 0))
    pef = section(b.build(), x="input", dy="output_gradient", w="gradient")
    return Example(pef, lambda given: {"w": 2 * given["x"].T @ given["dy"]})


def extremes() -> Example:
    """The largest element of all, reduced over both loops, and the smallest of every row, over the inner one."""
    b = NestBuilder()
    b.nest(4, 6)
    x = b.loaded(_f32(16, 24), (0, 1), 2)
    largest, least = b.hold("largest", _f32(1, 1)), b.hold("least", _f32(16, 1), (0,), 2)
    stage = b.work("largest")
    stage.put(stage.call(op("amax", dims=(0, 1), keepdim=True), stage.get(x, (0, 1))), largest, "max")
    stage.place()
    stage = b.work("least")
    stage.put(stage.call(op("amin", dims=(1,), keepdim=True), stage.get(x, (0, 1)), slicing=(0,)), least, "min")
    stage.place()
    b.stored(largest)
    b.stored(least, (0,))
    pef = section(b.build(), x="input", largest="output", least="output")
    return Example(
        pef, lambda given: {"largest": given["x"].max(keepdims=True), "least": given["x"].min(1, keepdims=True)}
    )


def blocks_read_whole() -> Example:
    """softmax(q k^T) v by rows, the scores by blocks of keys inside: softmax reads the blocks of its rows at once."""
    b = NestBuilder()
    b.nest(4, 2)
    q, k = b.loaded(_f32(16, 8), (0,), 2), b.loaded(_f32(12, 8), (-1, 0), 2)
    v = b.loaded(_f32(12, 8))
    scores = b.hold("scores", _f32(16, 12), (0, 1), 4)
    shares, out = b.hold("shares", _f32(16, 12), (0,), 1), b.hold("out", _f32(16, 8), (0,), 2)
    stage = b.work("scores")
    turned = stage.call(op("permute", dims=(1, 0)), stage.get(k, (-1, 0)), slicing=(-1, 1))
    stage.put(stage.call(_product(), stage.get(q, (0,)), turned, slicing=(0, 1)), scores)
    stage.place()
    stage = b.work("softmax")
    stage.put(stage.call(op("softmax", dim=1), stage.get(scores, (0,)), slicing=(0,)), shares)
    stage.place()
    stage = b.work("values")
    stage.put(stage.call(_product(), stage.get(shares, (0,)), stage.get(v), slicing=(0,)), out)
    stage.place()
    b.stored(out, (0,))
    pef = section(b.build(), q="input", k="input", v="input", out="output")
    return Example(pef, lambda x: {"out": _softmax(x["q"] @ x["k"].T) @ x["v"]})


def an_axis_cut_twice() -> Example:
    """tanh(tanh(x)) + 1/2 where two loops cut the rows, the stages at different levels."""
    b = NestBuilder()
    b.nest(3, 2)
    x = b.loaded(_f32(24, 8), (0, 0), 2)
    first, second = b.hold("first", _f32(24, 8), (0, 0), 4), b.hold("second", _f32(24, 8), (0,), 2)
    y = b.hold("y", _f32(24, 8), (0, 0), 2)
    for name, source, read, target, made in (
        ("first", x, (0, 0), first, (0, 0)),
        ("second", first, (0,), second, (0,)),
        ("third", second, (0, 0), y, (0, 0)),
    ):
        stage = b.work(name)
        stage.put(stage.call(op("tanh"), stage.get(source, read), slicing=made), target)
        stage.place()
    b.stored(y, (0, 0))
    pef = section(b.build(), x="input", y="output")
    return Example(pef, lambda given: {"y": np.tanh(np.tanh(np.tanh(given["x"])))})


def complete_before_read() -> Example:
    """Barriers within a phase: the sum over all rows, and keys made row by row, are both read whole by every row."""
    b = NestBuilder()
    b.nest(4, 2)
    x, w = b.loaded(_f32(16, 8), (0,)), b.loaded(_f32(8, 8))
    keys, total = b.hold("keys", _f32(16, 8), (0,)), b.hold("total", _f32(1, 8))
    scores, y = b.hold("scores", _f32(16, 16), (0, 1), 3), b.hold("y", _f32(16, 8), (0,), 2)
    stage = b.work("keys")
    stage.put(stage.call(_product(), stage.get(x, (0,)), stage.get(w), slicing=(0,)), keys)
    stage.place()
    stage = b.work("total")
    stage.put(stage.call(op("sum", dims=(0,), keepdim=True), stage.get(x, (0,))), total, "sum")
    stage.place()
    stage = b.work("scores")
    turned = stage.call(op("permute", dims=(1, 0)), stage.get(keys, (-1, 0)), slicing=(-1, 1))
    stage.put(stage.call(_product(), stage.get(x, (0,)), turned, slicing=(0, 1)), scores)
    stage.place()
    stage = b.work("centred")
    stage.put(stage.call(op("sub"), stage.get(x, (0,)), stage.get(total), slicing=(0,)), y)
    stage.place()
    b.stored(scores, (0, 1))
    b.stored(y, (0,))
    b.stored(total)
    pef = section(b.build(), x="input", w="parameter", scores="output", y="output", total="output")

    def expected(given: Mapping[str, Array]) -> dict[str, Array]:
        x, total = given["x"], given["x"].sum(0, keepdims=True)
        return {"scores": x @ (x @ given["w"]).T, "y": x - total, "total": total}

    return Example(pef, expected)


NESTS: dict[str, Callable[[], Example]] = {
    "attention": attention,
    "attention_of_three_loops": attention_of_three_loops,
    "streamed_again": streamed_again,
    "resident_sliced_load": lambda: streamed_again(resident=True),
    "summed_inside": summed_inside,
    "summed_outside": summed_outside,
    "extremes": extremes,
    "blocks_read_whole": blocks_read_whole,
    "an_axis_cut_twice": an_axis_cut_twice,
    "complete_before_read": complete_before_read,
}
