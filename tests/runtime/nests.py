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
from pef.nest import Nest, Slicing
from tests.pef.samples import ConfigurationBuilder, PefBuilder, f32, op


class NestBuilder(ConfigurationBuilder):
    """A configuration whose buffers are cut as the last phase's loops cut them, its slots numbered as they come."""

    def hold(self, name: str, tensor: TensorType, slicing: Slicing = (), depth: int = 0) -> int:
        """A buffer of the last phase: a ring of `depth` slices, or the whole tensor where depth is 0."""
        counts = self.record.phases[-1].loops
        return self.buffer(name, tensor, slicing, counts[: len(slicing)], depth or self.slices(slicing))

    def loaded(self, tensor: TensorType, slicing: Slicing = (), depth: int = 0) -> int:
        """A buffer filled from the next slot."""
        slot = self.slot(tensor)
        buffer = self.hold(f"in{slot}", tensor, slicing, depth)
        self.load(slot, buffer, slicing)
        return buffer

    def stored(self, buffer: int, slicing: Slicing = ()) -> None:
        """A buffer stored to the next slot."""
        self.store(self.slot(self.decoded(self.record.buffers[buffer].type)), buffer, slicing)

    def slices(self, slicing: Slicing) -> int:
        """The slices of a tensor that the last phase cuts so."""
        return Nest(tuple(self.record.phases[-1].loops)).slices(slicing)


def i32(*shape: int) -> TensorType:
    """A type of integers."""
    return TensorType(DType.I32, shape)


def by_index(stream: pb.Stream, index: int, axis: int) -> None:
    """Let a stream go by the numbers in a buffer."""
    stream.index.buffer, stream.index.axis = index, axis


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


def _product(dtype: DType = DType.F32) -> Op:
    return op("matmul", dtype=dtype)


TURNED = op("permute", dims=(0, 2, 1))


def attention(heads: int = 4, length: int = 32, width: int = 8, rows: int = 4) -> Example:
    """softmax(q k^T) v for a head at a time, and within it for a block of rows: the scores are never whole."""
    b = NestBuilder()
    b.phase(heads, length // rows)
    tensor, scores = f32(heads, length, width), f32(heads, length, length)
    q, k, v = b.loaded(tensor, (0, 1), 2), b.loaded(tensor, (0,), 2), b.loaded(tensor, (0,), 2)
    held = [b.hold(name, scores, (0, 1), 2) for name in ("scores", "shares")]
    out = b.hold("out", tensor, (0, 1), 2)
    stage = b.stage("scores")
    block, turned = stage.read(q, (0, 1)), stage.apply(TURNED, stage.read(k, (0,)), axis=(0,))
    stage.write(stage.apply(_product(), block, turned, axis=(0, 1)), held[0])
    stage.place()
    stage = b.stage("softmax")
    stage.write(stage.apply(op("softmax", dim=2), stage.read(held[0], (0, 1)), axis=(0, 1)), held[1])
    stage.place()
    stage = b.stage("values")
    stage.write(stage.apply(_product(), stage.read(held[1], (0, 1)), stage.read(v, (0,)), axis=(0, 1)), out)
    stage.place()
    b.stored(out, (0, 1))
    pef = section(b.build(), q="input", k="input", v="input", out="output")
    return Example(pef, lambda x: {"out": _softmax(x["q"] @ x["k"].transpose(0, 2, 1)) @ x["v"]})


def attention_of_three_loops() -> Example:
    """The same with a mask per sample: samples, heads, rows."""
    b = NestBuilder()
    b.phase(2, 3, 2)
    tensor, scores = f32(2, 3, 8, 4), f32(2, 3, 8, 8)
    q, k = b.loaded(tensor, (0, 1, 2), 2), b.loaded(tensor, (0, 1), 1)
    mask = b.loaded(f32(2, 1, 1, 8), (0,), 1)
    shares = b.hold("shares", scores, (0, 1, 2), 1)
    held = b.hold("scores", scores, (0, 1, 2), 2)
    stage = b.stage("scores")
    turned = stage.apply(op("permute", dims=(0, 1, 3, 2)), stage.read(k, (0, 1)), axis=(0, 1))
    stage.write(stage.apply(_product(), stage.read(q, (0, 1, 2)), turned, axis=(0, 1, 2)), held)
    stage.place()
    stage = b.stage("softmax")
    masked = stage.apply(op("add"), stage.read(held, (0, 1, 2)), stage.read(mask, (0,)), axis=(0, 1, 2))
    stage.write(stage.apply(op("softmax", dim=3), masked, axis=(0, 1, 2)), shares)
    stage.place()
    b.stored(shares, (0, 1, 2))
    pef = section(b.build(), q="input", k="input", mask="input", shares="output")
    return Example(pef, lambda x: {"shares": _softmax(x["q"] @ x["k"].transpose(0, 1, 3, 2) + x["mask"])})


def streamed_again(resident: bool = False) -> Example:
    """x @ w by columns of w, and within them by rows of x, which are loaded again for every block of columns."""
    b = NestBuilder()
    b.phase(3, 4)
    x, w = b.loaded(f32(32, 16), (-1, 0), 0 if resident else 2), b.loaded(f32(16, 24), (1,), 2)
    y = b.hold("y", f32(32, 24), (1, 0), 2)
    stage = b.stage("product")
    stage.write(stage.apply(_product(), stage.read(x, (-1, 0)), stage.read(w, (1,)), axis=(1, 0)), y)
    stage.place()
    b.stored(y, (1, 0))
    pef = section(b.build(), x="input", w="parameter", y="output")
    return Example(pef, lambda given: {"y": given["x"] @ given["w"]})


def summed_inside(dtype: DType = DType.F32) -> Example:
    """tanh(x @ w) by rows, and within them by terms of the product, complete when the inner loop ends."""
    b = NestBuilder()
    b.phase(4, 3)
    x, w = b.loaded(TensorType(dtype, (32, 24)), (0, 1), 2), b.loaded(TensorType(dtype, (24, 8)), (-1, 0), 2)
    total, y = b.hold("sum", TensorType(dtype, (32, 8)), (0,), 2), b.hold("y", TensorType(dtype, (32, 8)), (0,), 2)
    stage = b.stage("product")
    terms = stage.apply(_product(dtype), stage.read(x, (0, 1)), stage.read(w, (-1, 0)), axis=(0,))
    stage.write(terms, total, "sum")
    stage.place()
    stage = b.stage("tanh")
    stage.write(stage.apply(op("tanh"), stage.read(total, (0,)), axis=(0,)), y)
    stage.place()
    b.stored(y, (0,))
    pef = section(b.build(), x="input", w="parameter", y="output")
    return Example(pef, lambda given: {"y": np.tanh(given["x"] @ given["w"])})


def summed_outside(dtype: DType = DType.F32) -> Example:
    """x^T dy over rows, and within them by columns of dy; scaled by columns in a phase of its own."""
    b = NestBuilder()
    b.phase(8, 3)
    x, dy = b.loaded(TensorType(dtype, (64, 8)), (0,), 2), b.loaded(TensorType(dtype, (64, 24)), (0, 1), 2)
    total = b.hold("sum", TensorType(dtype, (8, 24)), (-1, 1))
    stage = b.stage("product")
    turned = stage.apply(op("permute", dims=(1, 0)), stage.read(x, (0,)), axis=(1,))
    terms = stage.apply(_product(dtype), turned, stage.read(dy, (0, 1)), axis=(-1, 1))
    stage.write(terms, total, "sum")
    stage.place()
    b.phase(2, 2)
    scaled = b.hold("scaled", TensorType(dtype, (8, 24)), (1, 0), 1)
    stage = b.stage("double")
    value = stage.read(total, (1, 0))
    stage.write(stage.apply(op("add"), value, value, axis=(1, 0)), scaled)
    stage.place()
    b.stored(scaled, (1, 0))
    pef = section(b.build(), x="input", dy="input", w="output")
    return Example(pef, lambda given: {"w": 2 * given["x"].T @ given["dy"]})


def summed_between() -> Example:
    """x^T dy for every sample, over rows, and within them by columns of dy: two slices are complete at one time."""
    b = NestBuilder()
    b.phase(5, 4, 2)
    x, dy = b.loaded(f32(5, 16, 4), (0, 1), 2), b.loaded(f32(5, 16, 6), (0, 1, 2), 2)
    total, y = b.hold("sum", f32(5, 4, 6), (0, -1, 2), 4), b.hold("y", f32(5, 4, 6), (0,), 1)
    stage = b.stage("product")
    turned = stage.apply(TURNED, stage.read(x, (0, 1)), axis=(0, 2))
    stage.write(stage.apply(_product(), turned, stage.read(dy, (0, 1, 2)), axis=(0, -1, 2)), total, "sum")
    stage.place()
    stage = b.stage("tanh")
    stage.write(stage.apply(op("tanh"), stage.read(total, (0,)), axis=(0,)), y)
    stage.place()
    b.stored(y, (0,))
    pef = section(b.build(), x="input", dy="input", y="output")
    return Example(pef, lambda given: {"y": np.tanh(given["x"].transpose(0, 2, 1) @ given["dy"])})


def extremes() -> Example:
    """The largest element of all, reduced over both loops, and the smallest of every row, over the inner one."""
    b = NestBuilder()
    b.phase(4, 6)
    x = b.loaded(f32(16, 24), (0, 1), 2)
    largest, least = b.hold("largest", f32(1, 1)), b.hold("least", f32(16, 1), (0,), 2)
    stage = b.stage("largest")
    stage.write(stage.apply(op("amax", dims=(0, 1), keepdim=True), stage.read(x, (0, 1))), largest, "max")
    stage.place()
    stage = b.stage("least")
    stage.write(stage.apply(op("amin", dims=(1,), keepdim=True), stage.read(x, (0, 1)), axis=(0,)), least, "min")
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
    b.phase(4, 2)
    q, k = b.loaded(f32(16, 8), (0,), 2), b.loaded(f32(12, 8), (-1, 0), 2)
    v = b.loaded(f32(12, 8))
    scores = b.hold("scores", f32(16, 12), (0, 1), 4)
    shares, out = b.hold("shares", f32(16, 12), (0,), 1), b.hold("out", f32(16, 8), (0,), 2)
    stage = b.stage("scores")
    turned = stage.apply(op("permute", dims=(1, 0)), stage.read(k, (-1, 0)), axis=(-1, 1))
    stage.write(stage.apply(_product(), stage.read(q, (0,)), turned, axis=(0, 1)), scores)
    stage.place()
    stage = b.stage("softmax")
    stage.write(stage.apply(op("softmax", dim=1), stage.read(scores, (0,)), axis=(0,)), shares)
    stage.place()
    stage = b.stage("values")
    stage.write(stage.apply(_product(), stage.read(shares, (0,)), stage.read(v), axis=(0,)), out)
    stage.place()
    b.stored(out, (0,))
    pef = section(b.build(), q="input", k="input", v="input", out="output")
    return Example(pef, lambda x: {"out": _softmax(x["q"] @ x["k"].T) @ x["v"]})


def an_axis_cut_twice() -> Example:
    """tanh(tanh(x)) + 1/2 where two loops cut the rows, the stages at different levels."""
    b = NestBuilder()
    b.phase(3, 2)
    x = b.loaded(f32(24, 8), (0, 0), 2)
    first, second = b.hold("first", f32(24, 8), (0, 0), 4), b.hold("second", f32(24, 8), (0,), 2)
    y = b.hold("y", f32(24, 8), (0, 0), 2)
    for name, source, read, target, made in (
        ("first", x, (0, 0), first, (0, 0)),
        ("second", first, (0,), second, (0,)),
        ("third", second, (0, 0), y, (0, 0)),
    ):
        stage = b.stage(name)
        stage.write(stage.apply(op("tanh"), stage.read(source, read), axis=made), target)
        stage.place()
    b.stored(y, (0, 0))
    pef = section(b.build(), x="input", y="output")
    return Example(pef, lambda given: {"y": np.tanh(np.tanh(np.tanh(given["x"])))})


def complete_before_read(samples: int) -> Example:
    """Within a sample, the sum over all rows, and keys made row by row, are read whole by every row."""
    b = NestBuilder()
    b.phase(samples, 4, 2)
    x, w = b.loaded(f32(samples, 16, 8), (0, 1), 4), b.loaded(f32(samples, 8, 8), (0,), 1)
    keys, total = b.hold("keys", f32(samples, 16, 8), (0, 1), 4), b.hold("total", f32(samples, 1, 8), (0,), 1)
    scores, y = b.hold("scores", f32(samples, 16, 16), (0, 1, 2), 3), b.hold("y", f32(samples, 16, 8), (0, 1), 2)
    stage = b.stage("keys")
    stage.write(stage.apply(_product(), stage.read(x, (0, 1)), stage.read(w, (0,)), axis=(0, 1)), keys)
    stage.place()
    stage = b.stage("total")
    stage.write(stage.apply(op("sum", dims=(1,), keepdim=True), stage.read(x, (0, 1)), axis=(0,)), total, "sum")
    stage.place()
    stage = b.stage("scores")
    turned = stage.apply(TURNED, stage.read(keys, (0, -1, 1)), axis=(0, -1, 2))
    stage.write(stage.apply(_product(), stage.read(x, (0, 1)), turned, axis=(0, 1, 2)), scores)
    stage.place()
    stage = b.stage("centred")
    stage.write(stage.apply(op("sub"), stage.read(x, (0, 1)), stage.read(total, (0,)), axis=(0, 1)), y)
    stage.place()
    b.stored(scores, (0, 1, 2))
    b.stored(y, (0, 1))
    b.stored(total, (0,))
    pef = section(b.build(), x="input", w="parameter", scores="output", y="output", total="output")

    def expected(given: Mapping[str, Array]) -> dict[str, Array]:
        x, total = given["x"], given["x"].sum(1, keepdims=True)
        return {"scores": x @ (x @ given["w"]).transpose(0, 2, 1), "y": x - total, "total": total}

    return Example(pef, expected)


def gathered(depth: int = 2) -> Example:
    """exp of rows of a table, four at a time: the index streams beside them."""
    b = NestBuilder()
    b.phase(8)
    ids, table = b.loaded(i32(32), (0,), depth), b.slot(f32(64, 16))
    rows, y = b.hold("rows", f32(32, 16), (0,), depth), b.hold("y", f32(32, 16), (0,), depth)
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(rows, (0,)), axis=(0,)), y)
    stage.place()
    by_index(b.load(table, rows, (0,)), ids, 0)
    b.stored(y, (0,))
    pef = section(b.build(), ids="input", table="parameter", y="output")
    return Example(pef, lambda x: {"y": np.exp(x["table"][x["ids"]])})


def gathered_in_part(resident: bool) -> Example:
    """Slices along the middle axis by a matrix of numbers: halves of their features, and within them a row of numbers
    at a time; the index stays, and so does what is fetched where `resident`."""
    b = NestBuilder()
    b.phase(2, 4)
    ids, table = b.loaded(i32(4, 6)), b.slot(f32(3, 50, 16))
    picked, cut = f32(3, 4, 6, 16), (3, 1)
    rows, y = b.hold("rows", picked, cut, 0 if resident else 2), b.hold("y", picked, cut, 2)
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(rows, cut), axis=cut), y)
    stage.place()
    by_index(b.load(table, rows, cut), ids, 1)
    b.stored(y, cut)
    pef = section(b.build(), ids="input", table="parameter", y="output")
    return Example(pef, lambda x: {"y": np.exp(x["table"][:, x["ids"]])})


def gathered_whole_by_a_made_index() -> Example:
    """The index is computed in a first phase; the second fetches all rows before it starts."""
    b = NestBuilder()
    b.phase(4)
    ids, table = b.loaded(i32(32), (0,), 2), b.slot(f32(90, 16))
    doubled = b.hold("doubled", i32(32), (0,))
    stage = b.stage("double")
    number = stage.read(ids, (0,))
    stage.write(stage.apply(op("add"), number, number, axis=(0,)), doubled)
    stage.place()
    b.phase(8)
    rows, y = b.hold("rows", f32(32, 16)), b.hold("y", f32(32, 16), (0,), 2)
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(rows, (0,)), axis=(0,)), y)
    stage.place()
    by_index(b.load(table, rows), doubled, 0)
    b.stored(y, (0,))
    pef = section(b.build(), ids="input", table="parameter", y="output")
    return Example(pef, lambda x: {"y": np.exp(x["table"][2 * x["ids"]])})


def scattered(slicing: Slicing = (0,)) -> Example:
    """exp of x written over rows of a table, the last of several for one place; every number is below 40, so that among
    64 of them some come twice."""
    b = NestBuilder()
    b.phase(16)
    ids = b.loaded(i32(64), slicing, 2 if slicing else 0)
    x = b.loaded(f32(64, 8), (0,), 2)
    y = b.hold("y", f32(64, 8), (0,), 2 if slicing else 0)
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(x, (0,)), axis=(0,)), y)
    stage.place()
    by_index(b.store(b.slot(f32(70, 8)), y, slicing), ids, 0)
    pef = section(b.build(), ids="input", x="input", table="buffer")

    def expected(given: Mapping[str, Array]) -> dict[str, Array]:
        table = given["table"].copy()
        for place, row in zip(given["ids"], np.exp(given["x"])):
            table[place] = row
        return {"table": table}

    return Example(pef, expected)


NESTS: dict[str, Callable[[], Example]] = {
    "attention": attention,
    "attention_of_three_loops": attention_of_three_loops,
    "streamed_again": streamed_again,
    "resident_sliced_load": lambda: streamed_again(resident=True),
    "summed_inside": summed_inside,
    "summed_outside": summed_outside,
    "summed_between": summed_between,
    "extremes": extremes,
    "blocks_read_whole": blocks_read_whole,
    "an_axis_cut_twice": an_axis_cut_twice,
    "complete_before_read": lambda: complete_before_read(3),
    "complete_before_read_once": lambda: complete_before_read(1),
    "gathered": gathered,
    "gathered_in_part": lambda: gathered_in_part(resident=False),
    "gathered_in_part_to_stay": lambda: gathered_in_part(resident=True),
    "gathered_whole_by_a_made_index": gathered_whole_by_a_made_index,
    "scattered": scattered,
    "scattered_whole": lambda: scattered(()),
}
