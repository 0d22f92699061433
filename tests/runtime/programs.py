"""Small programs for the simulator's tests, each with what plain NumPy makes of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ir.op import Array
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from tests.pef.samples import MATMUL, ConfigurationBuilder, PefBuilder, f32, op

ROWS = 64


def rand(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def bf16(array: Array) -> Array:
    """Rounded to bf16, half to even, by a way of its own: through the two neighbours."""
    bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
    low, rest = bits & 0xFFFF0000, bits & 0xFFFF
    up = (rest > 0x8000) | ((rest == 0x8000) & ((low >> 16) & 1 == 1))
    rounded: Array = (low + up * 0x10000).astype(np.uint32).view(np.float32)
    return rounded


def update_in_place() -> pb.Pef:
    """OPT: w -= lr * g over four tiles of w, which is loaded and stored."""
    b = ConfigurationBuilder()
    slots = [b.slot(f32(ROWS, 8)), b.slot(f32(ROWS, 8)), b.slot(f32()), b.slot(f32(ROWS, 8))]
    w, g, new = (b.buffer(name, f32(ROWS, 8), axes=0, counts=4, depth=2) for name in ("w", "g", "new"))
    rate = b.buffer("lr", f32())
    b.phase(4)
    stage = b.stage("update")
    old = stage.read(w, 0)
    delta = stage.apply(op("mul"), stage.read(g, 0), stage.read(rate), axis=0)
    stage.write(stage.apply(op("sub"), old, delta, axis=0), new)
    stage.place()
    b.load(slots[0], w, 0)
    b.load(slots[1], g, 0)
    b.load(slots[2], rate)
    b.store(slots[3], new, 0)
    p = PefBuilder()
    weight, gradient = p.symbol("w", f32(ROWS, 8), "parameter"), p.symbol("w.grad", f32(ROWS, 8), "buffer")
    p.section("OPT", "opt_0", p.configuration(b.build()), weight, gradient, p.symbol("lr", f32(), "hyper"), weight)
    return p.record


def square_in_place() -> pb.Pef:
    """OPT: w = w @ w by rows: every tile reads all of w, which the tiles before it have stored parts of."""
    b = ConfigurationBuilder()
    slots = [b.slot(f32(ROWS, ROWS)) for _ in range(3)]
    rows, out = (b.buffer(name, f32(ROWS, ROWS), axes=0, counts=4, depth=2) for name in ("rows", "out"))
    whole = b.buffer("whole", f32(ROWS, ROWS))
    b.phase(4)
    stage = b.stage("product")
    stage.write(stage.apply(MATMUL, stage.read(rows, 0), stage.read(whole), axis=0), out)
    stage.place()
    b.load(slots[0], rows, 0)
    b.load(slots[1], whole)
    b.store(slots[2], out, 0)
    p = PefBuilder()
    w = p.symbol("w", f32(ROWS, ROWS), "parameter")
    p.section("OPT", "opt_0", p.configuration(b.build()), w, w, w)
    return p.record


def half_precision() -> pb.Pef:
    """FWD: y = tanh(x + x), all bf16, x and y in bf16 in memory."""
    tensor = TensorType(DType.BF16, (ROWS, 16))
    b = ConfigurationBuilder()
    slots = b.slot(tensor), b.slot(tensor)
    x, y = (b.buffer(name, tensor, axes=0, counts=4, depth=2) for name in ("x", "y"))
    b.phase(4)
    stage = b.stage("tanh")
    value = stage.read(x, 0)
    stage.write(stage.apply(op("tanh"), stage.apply(op("add"), value, value, axis=0), axis=0), y)
    stage.place()
    b.load(slots[0], x, 0)
    b.store(slots[1], y, 0)
    p = PefBuilder()
    p.section(
        "FWD", "fwd_0", p.configuration(b.build()), p.symbol("x", tensor, "input"), p.symbol("y", tensor, "output")
    )
    return p.record


def summed(rows: int, columns: int, tiles: int) -> pb.Pef:
    """FWD: y = x^T x, a sum over tiles of x, whose tiles are transposed on the way."""
    b = ConfigurationBuilder()
    slots = b.slot(f32(rows, columns)), b.slot(f32(columns, columns))
    x, y = b.buffer("x", f32(rows, columns), 0, tiles, 2, pmus=4), b.buffer("y", f32(columns, columns), pmus=4)
    b.phase(tiles)
    stage = b.stage("product")
    value = stage.read(x, 0)
    turned = stage.apply(op("permute", dims=(1, 0)), value, axis=1)
    stage.write(stage.apply(MATMUL, turned, value), y, combine="sum")
    stage.place()
    b.load(slots[0], x, 0)
    b.store(slots[1], y)
    p = PefBuilder()
    symbols = p.symbol("x", f32(rows, columns), "input"), p.symbol("y", f32(columns, columns), "output")
    p.section("FWD", "fwd_0", p.configuration(b.build()), *symbols)
    return p.record


def training() -> pb.Pef:
    """loss = sum((x w)^2) in FWD; w.grad = 2 x^T x w in BCKWD; w -= lr w.grad in OPT. A batch is 64 rows."""
    p = PefBuilder()
    x, w, loss = (
        p.symbol("x", f32(ROWS, 8), "input"),
        p.symbol("w", f32(8, 4), "parameter"),
        p.symbol("loss", f32(1, 1), "output"),
    )
    h, grad = p.symbol("h", f32(ROWS, 4), "activation", (0, 1)), p.symbol("w.grad", f32(8, 4), "gradient")
    lr, dy = p.symbol("lr", f32(), "hyper"), p.symbol("loss.grad", f32(1, 1), "output_gradient")
    b = ConfigurationBuilder()
    slots = [b.slot(t) for t in (f32(ROWS, 8), f32(8, 4), f32(1, 1), f32(ROWS, 4))]
    buffer_x, buffer_h = b.buffer("x", f32(ROWS, 8), 0, 4, 2), b.buffer("h", f32(ROWS, 4), 0, 4, 2)
    buffer_w, buffer_loss = b.buffer("w", f32(8, 4)), b.buffer("loss", f32(1, 1))
    b.phase(4)
    product = b.stage("product")
    product.write(product.apply(MATMUL, product.read(buffer_x, 0), product.read(buffer_w), axis=0), buffer_h)
    product.place()
    total = b.stage("total")
    value = total.read(buffer_h, 0)
    flat = total.apply(op("reshape", shape=(1, ROWS)), value, axis=1)
    turned = total.apply(op("reshape", shape=(ROWS, 1)), value, axis=0)
    total.write(total.apply(MATMUL, flat, turned), buffer_loss, combine="sum")
    total.place()
    b.load(slots[0], buffer_x, 0)
    b.load(slots[1], buffer_w)
    b.store(slots[2], buffer_loss)
    b.store(slots[3], buffer_h, 0)
    p.section("FWD", "fwd_0", p.configuration(b.build()), x, w, loss, h)
    p.section("BCKWD", "bckwd_0", p.configuration(_gradient()), x, h, dy, grad)
    p.section("OPT", "opt_0", p.configuration(_descent()), w, grad, lr)
    return p.record


def _gradient() -> pb.Configuration:
    b = ConfigurationBuilder()
    slots = [b.slot(t) for t in (f32(ROWS, 8), f32(ROWS, 4), f32(1, 1), f32(8, 4))]
    x, h = b.buffer("x", f32(ROWS, 8), 0, 4, 3), b.buffer("h", f32(ROWS, 4), 0, 4, 2)
    scaled = b.buffer("scaled", f32(ROWS, 4), 0, 4, 2)
    dy, grad = b.buffer("dy", f32(1, 1)), b.buffer("grad", f32(8, 4))
    b.phase(4)
    scaling = b.stage("scaling")
    value = scaling.read(h, 0)
    twice = scaling.apply(op("add"), value, value, axis=0)
    scaling.write(scaling.apply(op("mul"), twice, scaling.read(dy), axis=0), scaled)
    scaling.place()
    product = b.stage("product")
    turned = product.apply(op("permute", dims=(1, 0)), product.read(x, 0), axis=1)
    product.write(product.apply(MATMUL, turned, product.read(scaled, 0)), grad, combine="sum")
    product.place()
    for slot, buffer, axis in ((0, x, 0), (1, h, 0), (2, dy, -1)):
        b.load(slots[slot], buffer, axis)
    b.store(slots[3], grad)
    return b.build()


def _descent() -> pb.Configuration:
    b = ConfigurationBuilder()
    slots = [b.slot(f32(8, 4)), b.slot(f32(8, 4)), b.slot(f32())]
    w, grad, lr, new = (
        b.buffer("w", f32(8, 4)),
        b.buffer("grad", f32(8, 4)),
        b.buffer("lr", f32()),
        b.buffer("new", f32(8, 4)),
    )
    b.phase(1)
    stage = b.stage("descent")
    delta = stage.apply(op("mul"), stage.read(grad), stage.read(lr))
    stage.write(stage.apply(op("sub"), stage.read(w), delta), new)
    stage.place()
    for slot, buffer in zip(slots, (w, grad, lr)):
        b.load(slot, buffer)
    b.store(slots[0], new)
    return b.build()


def expected_training(x: Array, w: Array, lr: float, steps: int) -> tuple[list[float], Array]:
    """The losses and the final weights of `training` on one batch."""
    losses, weights = [], w.astype(np.float64)
    for _ in range(steps):
        h = x @ weights
        losses.append(float((h * h).sum()))
        weights = weights - lr * 2 * x.T @ h
    return losses, weights


def expected(name: str, given: Mapping[str, Array]) -> dict[str, Array]:
    """What the samples of `tests.pef.samples` compute."""
    x = given["x"]
    if name == "two_products":
        return {"y": np.tanh(x @ given["a"]) @ given["b"]}
    if name == "residual":
        h = x + np.tanh(np.tanh(x))
        return {"y": h + np.tanh(np.tanh(h))}
    if name == "two_phases":
        return {"b.grad": ((x.T @ given["dy"]) * given["scale"] ** 7).T}
    h = np.tanh(x @ given["a"]) @ given["b"]
    return {"h2": h, "grad": ((x.T @ h) * given["scale"] ** 7).T}
