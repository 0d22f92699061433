"""Small stages that read parameters only, such as those that make a batch norm's scale, do not end a phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.rdu.allocate.plan import plan_section
from backends.rdu.compile import BUDGETS
from backends.rdu.cut.sections import Partition, materialise, partition_graph, stream_partition
from backends.rdu.infeasibility import DoesNotFitError
from backends.rdu.wire.nets import wire
from ir.builder import GraphBuilder
from ir.errors import InfeasibleError
from ir.graph import Graph, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from runtime.timing.network import Network
from tests.backends.machines import small_machine
from tests.backends.simulated import simulated_cycles

LAYERS = 4
IMAGES, CHANNELS, SIDE = 16, 16, 8
MACHINE = replace(small_machine(12, pmu_bytes=1 << 15), program_load_us=0.4, argument_load_us=0.1, launch_us=0.1)
SLACK = 1.05

HOPS = 4
"""Switches between any two units: nothing is placed."""


@pytest.fixture(autouse=True)
def _unplaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "_depth", lambda self, net: HOPS)


class Layers:
    """Convolutions with batch norm in inference. The scales are made where they are used, or all of them first."""

    def __init__(self, *, scales_first: bool) -> None:
        self.symbols: list[Symbol] = []
        self.builder = GraphBuilder(SectionKind.FWD)
        self.builder.location = Location("model.py", 1, "layers")
        x = self._symbol("x", SymbolKind.INPUT, (IMAGES, CHANNELS, SIDE, SIDE))
        scales = [self._scale(number) for number in range(LAYERS if scales_first else 0)]
        for number in range(LAYERS):
            weight = self._symbol(f"w{number}", SymbolKind.PARAMETER, (CHANNELS, CHANNELS, 3, 3))
            x = self._add(
                "conv2d", x, weight, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, dtype=DType.BF16
            )
            scale = scales[number] if scales_first else self._scale(number)
            x = self._add("relu", self._add("mul", x, scale))
        self.symbols.append(Symbol("y", x.type, SymbolKind.OUTPUT))
        self.builder.output("y", x)
        self.graph: Graph = self.builder.build()

    def _symbol(self, name: str, kind: SymbolKind, shape: tuple[int, ...]) -> Value:
        tensor = TensorType(DType.BF16, shape)
        self.symbols.append(Symbol(name, tensor, kind))
        return self.builder.input(name, tensor)

    def _add(self, name: str, *operands: Value, **attributes: object) -> Value:
        return self.builder.add(OPS[name](**attributes), *operands)

    def _scale(self, number: int) -> Value:
        variance = self._symbol(f"v{number}", SymbolKind.PARAMETER, (CHANNELS,))
        return self._add("reshape", self._add("rsqrt", variance), shape=(CHANNELS, 1, 1))

    def cycles(self, partition: Partition) -> float:
        """Simulated cycles of a partition."""
        return simulated_cycles(partition, self.symbols, MACHINE)

    @property
    def partition(self) -> Partition:
        """The compiler's choice."""
        return partition_graph(self.graph, MACHINE, fuse=True, budget=BUDGETS[0])


def test_where_a_scale_is_made_does_not_matter() -> None:
    early, late = Layers(scales_first=True), Layers(scales_first=False)
    assert late.cycles(late.partition) <= SLACK * early.cycles(early.partition)


def test_scales_do_not_end_a_phase() -> None:
    partition = Layers(scales_first=False).partition
    phases = [phase for section in partition.sections for phase in section.phases]
    products = [sum(stage.work.gemm is not None for stage in phase.stages) for phase in phases]
    assert max(products) == LAYERS


@pytest.mark.parametrize("scales_first", [True, False])
def test_no_other_cut_into_two_is_faster(scales_first: bool) -> None:
    layers = Layers(scales_first=scales_first)
    partition = layers.partition
    own = layers.cycles(partition)
    for length in range(1, len(partition.stages)):
        lengths = [length, len(partition.stages) - length]
        try:
            other = stream_partition(partition, lengths, MACHINE, fuse=True, budget=BUDGETS[0])
            assert own <= SLACK * layers.cycles(other)
        except (InfeasibleError, DoesNotFitError):
            continue


def test_small_loads_do_not_keep_agcus_from_large_ones() -> None:
    builder = GraphBuilder(SectionKind.OPT)
    builder.location = Location("model.py", 1, "layers")
    symbols = []
    for number in range(6):
        for kind, shape in (("small", (8,)), ("large", (64, 64))):
            tensor = TensorType(DType.BF16, shape)
            value = builder.input(f"{kind}{number}", tensor)
            builder.output(f"{kind}{number}.out", builder.add(OPS["relu"](), value))
            symbols += [
                Symbol(value.name, tensor, SymbolKind.PARAMETER),
                Symbol(f"{value.name}.out", tensor, SymbolKind.OUTPUT),
            ]
    partition = partition_graph(builder.build(), MACHINE, fuse=True, budget=BUDGETS[0])
    for section in materialise(partition).sections:
        layout = plan_section(section, MACHINE)
        wiring = wire(layout, MACHINE)
        for index, phase in enumerate(layout.phases):
            moved = [0.0] * len(MACHINE.agcu_sites)
            for stream, agcus in zip(phase.streams, wiring.agcus[index]):
                nbytes = layout.buffers[stream.buffer].type.nbytes
                for agcu in agcus:
                    moved[agcu] += nbytes / len(agcus)
            assert max(moved) <= SLACK * sum(moved) / len(moved) + 2 * 64 * 64
