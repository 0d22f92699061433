"""Small legal PEFs, built by hand: what tests of the format, the checker and the simulators start from.

`two_products`   one phase: x -> matmul, tanh -> matmul -> y, weights resident, four tiles
`residual`       one phase: x -> tanh -> tanh -> add x -> y, a ring that waits for the longer path
`two_phases`     phase one sums x^T dy over tiles into a held buffer, phase two scales it and stores it
`step`           FWD and BCKWD sections of the above, two FWD sections sharing one configuration
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import ir.ops  # noqa: F401  (registers every operator)
from ir.op import OPS, Op
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_machine, encode_op, encode_type, parallelism, product_side, stage_work
from pef.cycles import chain_length, operand_bytes
from pef.machine import Machine, SiteKind, Tier
from pef.nest import WHOLE, Nest, Slicing

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


Axes = int | Sequence[int]
"""The axis that each loop cuts; a number for the axis of a single loop."""


def slicing(axes: Axes) -> Slicing:
    """As a tuple, without loops at the end that cut nothing."""
    listed = [axes] if isinstance(axes, int) else list(axes)
    while listed and listed[-1] == WHOLE:
        listed.pop()
    return tuple(listed)


MATMUL = op("matmul", dtype=DType.F32)


@dataclass
class StageBuilder:
    """One stage: `read` and `apply` give the index of a value."""

    parent: ConfigurationBuilder
    record: pb.Stage

    def read(self, buffer: int, axes: Axes = ()) -> int:
        """An input port; the value it brings."""
        tile = self.parent.tile_type(buffer, axes)
        self.record.inputs.add(value=len(self.record.values), buffer=buffer)
        return self._value(tile, axes)

    def apply(self, operator: Op, *operands: int, axis: Axes = ()) -> int:
        """An operation; its (one) result."""
        types = [self.parent.decoded(self.record.values[i].type) for i in operands]
        (result,) = operator.results(*types)
        self.record.operations.append(encode_op(operator, operands, [len(self.record.values)]))
        return self._value(result, axis)

    def write(self, value: int, buffer: int, combine: str = "") -> None:
        """An output port."""
        self.record.outputs.add(value=value, buffer=buffer, combine=combine)

    def place(self, rows: int = 1, columns: int = 1) -> None:
        """Give the stage PCUs, now that its operators are known."""
        chain = chain_length(stage_work(self.record), self.parent.machine)
        self.record.batch_parallel, self.record.row_parallel, self.record.column_parallel = 1, rows, columns
        self.record.chain = chain
        self.record.units.extend(self.parent.take(SiteKind.PCU, rows * columns * chain))

    def _value(self, tile: TensorType, axes: Axes) -> int:
        self.record.values.add(type=encode_type(tile), axes=slicing(axes))
        return len(self.record.values) - 1


@dataclass
class ConfigurationBuilder:
    """A configuration whose units stand on the next free sites and whose nets turn once."""

    machine: Machine = MACHINE
    record: pb.Configuration = field(default_factory=pb.Configuration)
    free: dict[SiteKind, Iterator[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = {kind: iter(self.machine.working_sites(kind)) for kind in SiteKind}

    @staticmethod
    def decoded(record: pb.TensorType) -> TensorType:
        """The tensor type in a record."""
        return TensorType(DType(record.dtype), tuple(record.shape))

    def take(self, kind: SiteKind, count: int) -> list[int]:
        """New units of one kind."""
        for _ in range(count):
            self.record.units.add(site=next(self.free[kind]))
        return list(range(len(self.record.units) - count, len(self.record.units)))

    def slot(self, tensor: TensorType) -> int:
        """A symbol slot."""
        self.record.slots.append(encode_type(tensor))
        return len(self.record.slots) - 1

    def buffer(
        self,
        name: str,
        tensor: TensorType,
        axes: Axes = (),
        counts: int | Sequence[int] = (),
        depth: int = 1,
        pmus: int = 1,
    ) -> int:
        """A buffer on new PMUs; a count for a loop that does not cut it is left out."""
        units = self.take(SiteKind.PMU, pmus)
        buffer = self.record.buffers.add(name=name, type=encode_type(tensor), depth=depth, units=units)
        buffer.axes.extend(slicing(axes))
        loops = [counts] if isinstance(counts, int) else counts
        buffer.counts.extend(1 if axis == WHOLE else count for axis, count in zip(buffer.axes, loops))
        return len(self.record.buffers) - 1

    def phase(self, *loops: int) -> None:
        """A new phase, which the stages and streams that follow belong to."""
        self.record.phases.add(loops=loops)

    def stage(self, name: str) -> StageBuilder:
        """A new stage of the last phase."""
        return StageBuilder(self, self.record.phases[-1].stages.add(name=name))

    def load(self, slot: int, buffer: int, axes: Axes = (), agcus: Sequence[int] = (0,)) -> pb.Stream:
        """A stream from a symbol to a buffer."""
        return self._stream(False, slot, buffer, axes, agcus)

    def store(self, slot: int, buffer: int, axes: Axes = (), agcus: Sequence[int] = (3,)) -> pb.Stream:
        """A stream from a buffer to a symbol."""
        return self._stream(True, slot, buffer, axes, agcus)

    def tile_type(self, buffer: int, axes: Axes) -> TensorType:
        """What a port of the last phase sees of a buffer."""
        nest = Nest(tuple(self.record.phases[-1].loops))
        return nest.sliced(self.decoded(self.record.buffers[buffer].type), slicing(axes))

    def _stream(self, store: bool, slot: int, buffer: int, axes: Axes, agcus: Sequence[int]) -> pb.Stream:
        stream = self.record.phases[-1].streams.add(store=store, slot=slot, buffer=buffer, agcus=agcus)
        stream.axes.extend(slicing(axes))
        stream.values.add(type=encode_type(self.tile_type(buffer, axes)), axes=slicing(axes))
        return stream

    def build(self) -> pb.Configuration:
        """The configuration with all its nets."""
        for number, phase in enumerate(self.record.phases):
            for index, stage in enumerate(phase.stages):
                self._stage_nets(number, index, stage)
            for index, stream in enumerate(phase.streams):
                self._stream_nets(number, index, stream)
        return self.record

    def _stage_nets(self, phase: int, index: int, stage: pb.Stage) -> None:
        heads, tails = list(stage.units[:: stage.chain]), list(stage.units[stage.chain - 1 :: stage.chain])
        for port, read in enumerate(stage.inputs):
            tile = self.decoded(stage.values[read.value].type)
            size = operand_bytes(stage_work(stage), parallelism(stage), self.machine, tile, product_side(stage, read))
            pmus = self.record.buffers[read.buffer].units
            for pmu in pmus:
                self._net(phase, pb.Net.READ, pmu, heads, -(-size // len(pmus)), stage=index, port=port)
        for port, write in enumerate(stage.outputs):
            size = self.decoded(stage.values[write.value].type).nbytes
            pmus = list(self.record.buffers[write.buffer].units)
            for pcu in tails:
                self._net(phase, pb.Net.WRITE, pcu, pmus, -(-size // len(tails)), stage=index, port=port)
        for head in range(0, len(stage.units), stage.chain):
            links = stage.units[head : head + stage.chain]
            for left, right in pairwise(links):
                self._net(phase, pb.Net.CHAIN, left, [right], 64, stage=index)

    def _stream_nets(self, phase: int, index: int, stream: pb.Stream) -> None:
        pmus = list(self.record.buffers[stream.buffer].units)
        size = self.decoded(stream.values[0].type).nbytes
        for agcu in stream.agcus:
            share = -(-size // len(stream.agcus))
            if not stream.store:
                self._net(phase, pb.Net.LOAD, agcu, pmus, share, stream=index)
                continue
            for pmu in pmus:
                self._net(phase, pb.Net.STORE, pmu, [agcu], -(-share // len(pmus)), stream=index)

        if stream.HasField("index"):
            pick = self.decoded(self.record.buffers[stream.index.buffer].type)
            for unit in self.record.buffers[stream.index.buffer].units:
                self._net(phase, pb.Net.INDEX, unit, list(stream.agcus), pick.nbytes, stream=index)

    def _net(
        self, phase: int, kind: pb.Net.Kind.ValueType, source: int, sinks: Sequence[int], size: int, **owner: int
    ) -> None:
        start = self._terminal(source, kind == pb.Net.LOAD)
        ends = [self._terminal(sink, kind in (pb.Net.STORE, pb.Net.INDEX)) for sink in sinks]
        route = route_in_dimension_order(self.machine, self.site(start), [self.site(end) for end in ends])
        self.record.nets.add(phase=phase, kind=kind, source=start, sinks=ends, bytes=size, route=route, **owner)

    @staticmethod
    def _terminal(number: int, agcu: bool) -> pb.Terminal:
        return pb.Terminal(agcu=number) if agcu else pb.Terminal(unit=number)

    def site(self, terminal: pb.Terminal) -> int:
        """The site of the switch a terminal is attached to."""
        if terminal.WhichOneof("at") == "agcu":
            return self.machine.agcu_sites[terminal.agcu]
        return self.record.units[terminal.unit].site


def route_in_dimension_order(machine: Machine, source: int, sinks: Sequence[int]) -> list[int]:
    """A tree of links that follows the source's row, then the sinks' columns."""
    links: dict[tuple[int, int], None] = {}
    for sink in sinks:
        row, column = divmod(source, machine.columns)
        target_row, target_column = divmod(sink, machine.columns)
        at = source
        while at != sink:
            if column != target_column:
                column += 1 if target_column > column else -1
            else:
                row += 1 if target_row > row else -1
            after = row * machine.columns + column
            links[at, after] = None
            at = after
    return [end for link in links for end in link]


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
class PefBuilder:
    """A PEF of one-configuration sections over symbols laid out one behind the other."""

    record: pb.Pef = field(default_factory=pb.Pef)
    end: int = 0

    def __post_init__(self) -> None:
        self.record.machine.CopyFrom(encode_machine(MACHINE))
        self.record.header.name = "sample"
        self.record.header.toolchain_version = "0.1.0"
        self.record.header.options_json = json.dumps({"mode": "o3"})
        self.record.header.metadata_json = json.dumps({"labels": ["a", "b"], "threshold": 0.5})
        self.record.strings.extend(["model.py", "net.fc1"])

    def symbol(self, name: str, tensor: TensorType, kind: str, lifetime: tuple[int, int] | None = None) -> int:
        """A symbol; persistent where no lifetime is given."""
        symbol = self.record.symbols.add(name=name, type=encode_type(tensor), kind=kind, offset=self.end)
        symbol.persistent = lifetime is None
        symbol.first, symbol.last = lifetime or (0, 0)
        self.end += -(-tensor.nbytes // 64) * 64
        return len(self.record.symbols) - 1

    def configuration(self, record: pb.Configuration) -> int:
        """A configuration."""
        self.record.configurations.append(record)
        return len(self.record.configurations) - 1

    def section(self, kind: str, name: str, configuration: int, *bindings: int) -> None:
        """A section; its operations are on successive lines."""
        section = self.record.sections.add(kind=kind, name=name, configuration=configuration, bindings=bindings)
        phases = self.record.configurations[configuration].phases
        operations = sum(len(stage.operations) for phase in phases for stage in phase.stages)
        for line in range(operations):
            section.locations.add(file=0, line=10 + line, module=1)
        section.prediction.cycles = 4000.0
        section.prediction.load_cycles = 1750.0
        section.prediction.bound = "compute"
        section.prediction.flops = 1 << 20
        section.prediction.dram_read_bytes = 1 << 15
        section.prediction.dram_write_bytes = 1 << 14


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
