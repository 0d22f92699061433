"""Building configurations and PEFs by hand, for tests and for teaching: no compiler, no search.

    b = ConfigurationBuilder(machine)
    slots = [b.slot(tensor), b.slot(tensor)]
    x, y = (b.buffer(name, tensor, axes=0, counts=4, depth=2) for name in "xy")
    b.phase(4)                                     # one loop of four iterations
    stage = b.stage("twice")
    value = stage.read(x, 0)                       # the slice that loop 0 cuts along axis 0
    stage.write(stage.apply(OPS["add"](), value, value, axis=0), y)
    stage.place()
    b.load(slots[0], x, 0)
    b.store(slots[1], y, 0)
    configuration = b.build()

Units stand on the next free sites, and nets go along a row, then along columns. The compiler places and routes better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ir.op import Op
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_machine, encode_op, encode_type, parallelism, product_side, stage_work
from pef.cycles import chain_length, operand_bytes, result_bytes
from pef.machine import Machine, SiteKind
from pef.nest import WHOLE, Nest, Slicing

Axes = int | Sequence[int]
"""The axis that each loop cuts; a number for the axis of a single loop."""


def slicing(axes: Axes) -> Slicing:
    """As a tuple, without loops at the end that cut nothing."""
    listed = [axes] if isinstance(axes, int) else list(axes)
    while listed and listed[-1] == WHOLE:
        listed.pop()
    return tuple(listed)


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

    def place(self, rows: int = 1, columns: int = 1, batch: int = 1) -> None:
        """Give the stage PCUs, now that its operators are known."""
        chain = chain_length(stage_work(self.record), self.parent.machine)
        self.record.batch_parallel, self.record.row_parallel, self.record.column_parallel = batch, rows, columns
        self.record.chain = chain
        self.record.units.extend(self.parent.take(SiteKind.PCU, batch * rows * columns * chain))

    def _value(self, tile: TensorType, axes: Axes) -> int:
        self.record.values.add(type=encode_type(tile), axes=slicing(axes))
        return len(self.record.values) - 1


@dataclass
class ConfigurationBuilder:
    """A configuration whose units stand on the next free sites and whose nets turn once."""

    machine: Machine
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
        units: Sequence[int] = (),
    ) -> int:
        """A buffer on these PMUs, or on new ones; a count for a loop that does not cut it is left out."""
        units = units or self.take(SiteKind.PMU, pmus)
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
            units = self.record.buffers[read.buffer].units
            for pmu in units:
                self._net(phase, pb.Net.READ, pmu, heads, -(-size // len(units)), stage=index, port=port)
        for port, write in enumerate(stage.outputs):
            size = result_bytes(stage_work(stage), parallelism(stage), self.decoded(stage.values[write.value].type))
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

    def _net(self, phase: int, kind: pb.Net.Kind, source: int, sinks: Sequence[int], size: int, **owner: int) -> None:
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


@dataclass
class PefBuilder:
    """A PEF of one-configuration sections over symbols laid out one behind the other in the first memory tier.

    Operations have to come from somewhere: they are on successive lines of `file`, from `line` on, in `module`.
    """

    machine: Machine
    name: str = "by_hand"
    file: str = "by_hand.py"
    line: int = 1
    module: str = ""
    record: pb.Pef = field(default_factory=pb.Pef)
    end: int = 0

    def __post_init__(self) -> None:
        self.record.machine.CopyFrom(encode_machine(self.machine))
        self.record.header.name = self.name
        self.record.header.toolchain_version = "by hand"
        self.record.header.options_json = "{}"
        self.record.header.metadata_json = "{}"
        self.record.strings.extend([self.file, self.module])

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

    def section(self, kind: str, name: str, configuration: int, *bindings: int) -> pb.Section:
        """A section that binds the configuration's slots to symbols."""
        section = self.record.sections.add(kind=kind, name=name, configuration=configuration, bindings=bindings)
        phases = self.record.configurations[configuration].phases
        operations = sum(len(stage.operations) for phase in phases for stage in phase.stages)
        for number in range(operations):
            section.locations.add(file=0, line=self.line + number, module=1)
        return section
