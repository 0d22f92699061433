"""Configurations of two loops, built by hand: what a nest can do, each as small as it can be.

`attention`      heads and rows: K and V of a head stay while its rows pass, the scores never leave the chip
`stationary`     features and rows: a block of the weight stays, the activations are streamed again for each
`inner_sum`      rows and depth: a product is summed over the inner loop, its reader runs in the outer one's tempo
`outer_sum`      samples and features: summed over the outer loop, slice by slice of the inner; read in a second phase
`resident`       rows and features: each block of the weight is loaded once, and read in every iteration of the rows
`maximum`        rows and keys: the scores of a row wait in their ring until the row's maximum is known
"""

from __future__ import annotations

from collections.abc import Callable

from pef import pef_pb2 as pb
from pef.codec import encode_machine
from pef.machine import Machine
from pef.nest import WHOLE
from tests.pef.samples import ConfigurationBuilder
from tests.timing.build import FREE_MEMORY, bf16, matmul, op


def attention(
    heads: int = 3, blocks: int = 4, length: int = 64, width: int = 32, depth: int = 2, machine: Machine = FREE_MEMORY
) -> pb.Configuration:
    """y = softmax(q @ k^T) @ v for every head, `blocks` blocks of rows at a time."""
    b = ConfigurationBuilder(machine)
    tensor, scores = bf16(heads, length, width), bf16(heads, length, length)
    loops, rows = (heads, blocks), (0, 1)
    q = b.buffer("q", tensor, rows, loops, depth)
    k, v = (b.buffer(name, tensor, 0, heads, 2, pmus=4) for name in "kv")
    s, p = (b.buffer(name, scores, rows, loops, depth, pmus=2) for name in "sp")
    y = b.buffer("y", tensor, rows, loops, depth)
    slots = [b.slot(tensor) for _ in range(4)]
    b.phase(*loops)
    stage = b.stage("qk")
    left = stage.read(q, rows)
    turned = stage.apply(op("permute", dims=(0, 2, 1)), stage.read(k, 0), axis=0)
    stage.write(stage.apply(matmul(), left, turned, axis=rows), s)
    stage.place(rows=1, columns=2)
    stage = b.stage("softmax")
    stage.write(stage.apply(op("softmax", dim=2), stage.read(s, rows), axis=rows), p)
    stage.place()
    stage = b.stage("pv")
    stage.write(stage.apply(matmul(), stage.read(p, rows), stage.read(v, 0), axis=rows), y)
    stage.place(rows=1, columns=2)
    for number, (buffer, axes) in enumerate(((q, rows), (k, 0), (v, 0))):
        b.load(slots[number], buffer, axes, agcus=(number,))
    b.store(slots[3], y, rows, agcus=(3,))
    return b.build()


def stationary(
    features: int = 3, blocks: int = 4, rows: int = 64, inner: int = 32, columns: int = 24, depth: int = 2
) -> pb.Configuration:
    """y = x @ w: a block of columns of w stays while all blocks of rows of x pass."""
    b = ConfigurationBuilder(FREE_MEMORY)
    loops = (features, blocks)
    x = b.buffer("x", bf16(rows, inner), (WHOLE, 0), loops, depth)
    w = b.buffer("w", bf16(inner, features * columns), 1, features, 2)
    y = b.buffer("y", bf16(rows, features * columns), (1, 0), loops, depth)
    slots = [b.slot(t) for t in (bf16(rows, inner), bf16(inner, features * columns), bf16(rows, features * columns))]
    b.phase(*loops)
    stage = b.stage("gemm")
    stage.write(stage.apply(matmul(), stage.read(x, (WHOLE, 0)), stage.read(w, 1), axis=(1, 0)), y)
    stage.place()
    b.load(slots[0], x, (WHOLE, 0), agcus=(0,))
    b.load(slots[1], w, 1, agcus=(1,))
    b.store(slots[2], y, (1, 0), agcus=(2,))
    return b.build()


def inner_sum(
    blocks: int = 3, parts: int = 4, rows: int = 32, inner: int = 32, columns: int = 24, depth: int = 1
) -> pb.Configuration:
    """y = exp(x @ w): the product of a block of rows is summed over parts of the inner dimension."""
    b = ConfigurationBuilder(FREE_MEMORY)
    loops = (blocks, parts)
    types = bf16(blocks * rows, parts * inner), bf16(parts * inner, columns), bf16(blocks * rows, columns)
    x = b.buffer("x", types[0], (0, 1), loops, 2)
    w = b.buffer("w", types[1], (WHOLE, 0), loops, 2)
    h = b.buffer("h", types[2], 0, blocks, depth)
    y = b.buffer("y", types[2], 0, blocks, 2)
    slots = [b.slot(tensor) for tensor in types]
    b.phase(*loops)
    stage = b.stage("product")
    stage.write(stage.apply(matmul(), stage.read(x, (0, 1)), stage.read(w, (WHOLE, 0)), axis=0), h, combine="sum")
    stage.place()
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(h, 0), axis=0), y)
    stage.place()
    b.load(slots[0], x, (0, 1), agcus=(0,))
    b.load(slots[1], w, (WHOLE, 0), agcus=(1,))
    b.store(slots[2], y, 0, agcus=(2,))
    return b.build()


def outer_sum(
    samples: int = 3, features: int = 4, rows: int = 32, inner: int = 24, columns: int = 16
) -> pb.Configuration:
    """gradient = exp(x^T @ dy): summed over samples, by blocks of features; then exponentiated by rows."""
    b = ConfigurationBuilder(FREE_MEMORY)
    loops = (samples, features)
    types = (
        bf16(samples * rows, inner),
        bf16(samples * rows, features * columns),
        bf16(inner, features * columns),
    )
    x = b.buffer("x", types[0], 0, samples, 2)
    dy = b.buffer("dy", types[1], (0, 1), loops, 2)
    held = b.buffer("held", types[2], (WHOLE, 1), loops, features)
    y = b.buffer("y", types[2], 0, 4, 2)
    slots = [b.slot(tensor) for tensor in types]
    b.phase(*loops)
    stage = b.stage("product")
    turned = stage.apply(op("permute", dims=(1, 0)), stage.read(x, 0), axis=1)
    stage.write(stage.apply(matmul(), turned, stage.read(dy, (0, 1)), axis=(WHOLE, 1)), held, combine="sum")
    stage.place()
    b.load(slots[0], x, 0, agcus=(0,))
    b.load(slots[1], dy, (0, 1), agcus=(1,))
    b.phase(4)
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(held, 0), axis=0), y)
    stage.place()
    b.store(slots[2], y, 0, agcus=(2,))
    return b.build()


def resident(
    blocks: int = 3, features: int = 4, rows: int = 32, inner: int = 32, columns: int = 24
) -> pb.Configuration:
    """y = x @ w: a block of rows of x meets every block of columns of w, each of which is loaded once."""
    b = ConfigurationBuilder(FREE_MEMORY)
    loops = (blocks, features)
    types = bf16(blocks * rows, inner), bf16(inner, features * columns), bf16(blocks * rows, features * columns)
    x = b.buffer("x", types[0], 0, blocks, 2)
    w = b.buffer("w", types[1], (WHOLE, 1), loops, features)
    y = b.buffer("y", types[2], (0, 1), loops, 2)
    slots = [b.slot(tensor) for tensor in types]
    b.phase(*loops)
    stage = b.stage("gemm")
    stage.write(stage.apply(matmul(), stage.read(x, 0), stage.read(w, (WHOLE, 1)), axis=(0, 1)), y)
    stage.place()
    b.load(slots[0], x, 0, agcus=(0,))
    b.load(slots[1], w, (WHOLE, 1), agcus=(1,))
    b.store(slots[2], y, (0, 1), agcus=(2,))
    return b.build()


def maximum(
    blocks: int = 3, keys: int = 4, rows: int = 32, columns: int = 32, depth: int | None = None
) -> pb.Configuration:
    """y = s - max(s) for s = exp(x): the ring of s holds the slices of one row block, or `depth`."""
    b = ConfigurationBuilder(FREE_MEMORY)
    loops, both = (blocks, keys), (0, 1)
    tensor = bf16(blocks * rows, keys * columns)
    x, y = (b.buffer(name, tensor, both, loops, 2) for name in "xy")
    s = b.buffer("s", tensor, both, loops, keys if depth is None else depth)
    m = b.buffer("m", bf16(blocks * rows, 1), 0, blocks, 1)
    slots = [b.slot(tensor), b.slot(tensor)]
    b.phase(*loops)
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(x, both), axis=both), s)
    stage.place()
    stage = b.stage("amax")
    stage.write(stage.apply(op("amax", dims=(1,), keepdim=True), stage.read(s, both), axis=0), m, combine="max")
    stage.place()
    stage = b.stage("sub")
    stage.write(stage.apply(op("sub"), stage.read(s, both), stage.read(m, 0), axis=both), y)
    stage.place()
    b.load(slots[0], x, both, agcus=(0,))
    b.store(slots[1], y, both, agcus=(1,))
    return b.build()


NESTS: dict[str, Callable[[], pb.Configuration]] = {
    "attention": attention,
    "stationary": stationary,
    "inner_sum": inner_sum,
    "outer_sum": outer_sum,
    "resident": resident,
    "maximum": maximum,
}


def pef_of_nest(configuration: pb.Configuration, machine: Machine = FREE_MEMORY) -> pb.Pef:
    """A legal PEF of one section, each slot bound to a symbol of its own."""
    pef = pb.Pef(machine=encode_machine(machine), configurations=[configuration], strings=["model.py", "net"])
    pef.header.name = "nest"
    end = 0
    stored = {stream.slot for phase in configuration.phases for stream in phase.streams if stream.store}
    for index, slot in enumerate(configuration.slots):
        kind = "output" if index in stored else "input"
        pef.symbols.add(name=f"s{index}", type=slot, kind=kind, persistent=True, offset=end)
        end += -(-ConfigurationBuilder.decoded(slot).nbytes // 64) * 64
    section = pef.sections.add(kind="FWD", name="fwd_0", bindings=range(len(configuration.slots)))
    for phase in configuration.phases:
        for stage in phase.stages:
            for _ in stage.operations:
                section.locations.add(file=0, line=1, module=1)
    return pef
