"""Small legal PEFs, built by hand: what tests of the format, the checker and the simulators start from.

`two_products`   one phase: x -> matmul, tanh -> matmul -> y, weights resident, four tiles
`residual`       one phase: x -> tanh -> tanh -> add x -> y, a ring that waits for the longer path
`two_phases`     phase one sums x^T dy over tiles into a held buffer, phase two scales it and stores it
`step`           FWD and BCKWD sections of the above, two FWD sections sharing one configuration
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import ir.ops  # noqa: F401  (registers every operator)
from ir.op import OPS, Op
from ir.types import DType, TensorType
from pef import builder
from pef import pef_pb2 as pb
from pef.builder import StageBuilder, route_in_dimension_order, slicing
from pef.codec import encode_op, encode_type
from pef.machine import Machine, Tier

__all__ = ["MACHINE", "MATMUL", "SAMPLES", "ConfigurationBuilder", "PefBuilder", "StageBuilder", "f32", "op",
           "residual", "route_in_dimension_order", "slicing", "step", "two_phases", "two_products"]  # fmt: skip

MACHINE = Machine(
    name="test8x8",
    rows=8,
    columns=8,
    rdu_tile_rows=4,
    rdu_tile_columns=4,
    faulty_sites=(9, 10),
    agcu_sites=(0, 7, 56, 63),
    clock_ghz=1.0,
    pcu_lanes=32,
    pcu_stages=6,
    fp32_cycles_per_vector=2,
    tail_cycles_per_vector=4,
    pmu_bytes=65536,
    pmu_port_bytes_per_cycle=64,
    pmu_read_ports=2,
    pmu_write_ports=1,
    link_bytes_per_cycle=64,
    hop_cycles=1,
    agcu_bytes_per_cycle=64,
    memory_burst_bytes=64,
    tiers=(Tier("ddr", 1 << 24, 100e9),),
    program_load_us=1.0,
    argument_load_us=0.5,
    launch_us=0.25,
    ring_bytes_per_s=25e9,
    ring_step_us=0.5,
    host_bytes_per_s=32e9,
)


def f32(*shape: int) -> TensorType:
    """A float32 tensor type."""
    return TensorType(DType.F32, shape)


def op(name: str, **attributes: object) -> Op:
    """An operator by name."""
    return OPS[name](**attributes)


MATMUL = op("matmul", dtype=DType.F32)


@dataclass
class ConfigurationBuilder(builder.ConfigurationBuilder):
    """A configuration for the tests' machine, unless another is given."""

    machine: Machine = MACHINE


def two_products_configuration() -> pb.Configuration:
    """y = tanh(x @ a) @ b, the rows of x in four tiles."""
    b = ConfigurationBuilder()
    slots = [b.slot(t) for t in (f32(256, 32), f32(32, 48), f32(48, 16), f32(256, 16))]
    x = b.buffer("x", f32(256, 32), axes=0, counts=4, depth=2)
    weight_a = b.buffer("a", f32(32, 48))
    hidden = b.buffer("hidden", f32(256, 48), axes=0, counts=4, depth=2, pmus=2)
    weight_b = b.buffer("b", f32(48, 16))
    y = b.buffer("y", f32(256, 16), axes=0, counts=4, depth=2)
    b.phase(4)
    first = b.stage("fc1")
    product = first.apply(MATMUL, first.read(x, 0), first.read(weight_a), axis=0)
    first.write(first.apply(op("tanh"), product, axis=0), hidden)
    first.place(rows=2, columns=2)
    second = b.stage("fc2")
    second.write(second.apply(MATMUL, second.read(hidden, 0), second.read(weight_b), axis=0), y)
    second.place()
    b.load(slots[0], x, 0, agcus=(0, 1))
    b.load(slots[1], weight_a)
    b.load(slots[2], weight_b)
    b.store(slots[3], y, 0)
    return b.build()


def residual_configuration() -> pb.Configuration:
    """y = x + tanh(tanh(x)): x waits in its ring for the two stages beside it."""
    b = ConfigurationBuilder()
    slots = [b.slot(f32(64, 32)), b.slot(f32(64, 32))]
    x, inner, outer, y = (
        b.buffer(name, f32(64, 32), axes=0, counts=4, depth=depth)
        for name, depth in (("x", 3), ("inner", 1), ("outer", 2), ("y", 2))
    )
    b.phase(4)
    for name, source, target in (("inner", x, inner), ("outer", inner, outer)):
        stage = b.stage(name)
        stage.write(stage.apply(op("tanh"), stage.read(source, 0), axis=0), target)
        stage.place()
    total = b.stage("sum")
    total.write(total.apply(op("add"), total.read(x, 0), total.read(outer, 0), axis=0), y)
    total.place(rows=2)
    b.load(slots[0], x, 0)
    b.store(slots[1], y, 0)
    return b.build()


def two_phases_configuration() -> pb.Configuration:
    """gradient = (x^T @ dy) * scale: the sum over tiles is held whole, then scaled by columns and stored transposed."""
    b = ConfigurationBuilder()
    slots = [b.slot(t) for t in (f32(256, 32), f32(256, 16), f32(), f32(16, 32))]
    x = b.buffer("x", f32(256, 32), axes=0, counts=4, depth=2)
    dy = b.buffer("dy", f32(256, 16), axes=0, counts=4, depth=2)
    held = b.buffer("held", f32(32, 16))
    scale = b.buffer("scale", f32())
    scaled = b.buffer("scaled", f32(32, 16), 1, 2, 1)
    b.phase(4)
    product = b.stage("product")
    turned = product.apply(op("permute", dims=(1, 0)), product.read(x, 0), axis=1)
    product.write(product.apply(MATMUL, turned, product.read(dy, 0)), held, combine="sum")
    product.place()
    b.load(slots[0], x, 0)
    b.load(slots[1], dy, 0, agcus=(2,))
    b.phase(2)
    scaling = b.stage("scaling")
    value, factor = scaling.read(held, 1), scaling.read(scale)
    for _ in range(7):  # one more than a PCU has pipeline stages
        value = scaling.apply(op("mul"), value, factor, axis=1)
    scaling.write(value, scaled)
    scaling.place(rows=2)
    b.load(slots[2], scale)
    stream = b.store(slots[3], scaled, 1)
    stream.operations.append(encode_op(op("permute", dims=(1, 0)), [0], [1]))
    stream.values.add(type=encode_type(f32(8, 32)), axes=[0])
    return b.build()


@dataclass
class PefBuilder(builder.PefBuilder):
    """A PEF for the tests' machine, with a header and predictions."""

    machine: Machine = MACHINE
    name: str = "sample"
    file: str = "model.py"
    line: int = 10
    module: str = "net.fc1"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.record.header.toolchain_version = "0.1.0"
        self.record.header.options_json = json.dumps({"mode": "o3"})
        self.record.header.metadata_json = json.dumps({"labels": ["a", "b"], "threshold": 0.5})

    def section(self, kind: str, name: str, configuration: int, *bindings: int) -> pb.Section:
        """A section with a prediction."""
        section = super().section(kind, name, configuration, *bindings)
        section.prediction.cycles = 4000.0
        section.prediction.load_cycles = 1750.0
        section.prediction.bound = "compute"
        section.prediction.flops = 1 << 20
        section.prediction.dram_read_bytes = 1 << 15
        section.prediction.dram_write_bytes = 1 << 14
        return section


def two_products() -> pb.Pef:
    """One FWD section."""
    b = PefBuilder()
    configuration = b.configuration(two_products_configuration())
    x = b.symbol("x", f32(256, 32), "input")
    weights = [b.symbol("a", f32(32, 48), "parameter"), b.symbol("b", f32(48, 16), "parameter")]
    b.section("FWD", "fwd_0", configuration, x, *weights, b.symbol("y", f32(256, 16), "output"))
    return b.record


def residual() -> pb.Pef:
    """Two FWD sections of one configuration, with an activation between them."""
    b = PefBuilder()
    configuration = b.configuration(residual_configuration())
    x, h = b.symbol("x", f32(64, 32), "input"), b.symbol("h", f32(64, 32), "activation", lifetime=(0, 1))
    b.section("FWD", "fwd_0", configuration, x, h)
    b.section("FWD", "fwd_1", configuration, h, b.symbol("y", f32(64, 32), "output"))
    return b.record


def two_phases() -> pb.Pef:
    """One BCKWD section."""
    b = PefBuilder()
    configuration = b.configuration(two_phases_configuration())
    x, dy = b.symbol("x", f32(256, 32), "input"), b.symbol("dy", f32(256, 16), "output_gradient")
    scale, gradient = b.symbol("scale", f32(), "hyper"), b.symbol("b.grad", f32(16, 32), "gradient")
    b.section("BCKWD", "bckwd_0", configuration, x, dy, scale, gradient)
    return b.record


def step() -> pb.Pef:
    """A step of three sections; the two activations share their memory."""
    b = PefBuilder()
    product, gradient = b.configuration(two_products_configuration()), b.configuration(two_phases_configuration())
    x, scale = b.symbol("x", f32(256, 32), "input"), b.symbol("scale", f32(), "hyper")
    weight_a, weight_b = b.symbol("a", f32(32, 48), "parameter"), b.symbol("b", f32(48, 16), "parameter")
    first, grad = b.symbol("h", f32(256, 16), "activation", (0, 1)), b.symbol("grad", f32(16, 32), "gradient")
    second = b.symbol("h2", f32(256, 16), "activation", (2, 2))
    b.record.symbols[second].offset = b.record.symbols[first].offset
    b.section("FWD", "fwd_0", product, x, weight_a, weight_b, first)
    b.section("BCKWD", "bckwd_0", gradient, x, first, scale, grad)
    b.section("FWD", "fwd_1", product, x, weight_a, weight_b, second)
    return b.record


SAMPLES: dict[str, Callable[[], pb.Pef]] = {
    "two_products": two_products,
    "residual": residual,
    "two_phases": two_phases,
    "step": step,
}
