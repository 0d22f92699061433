"""The cut beside brute force: graphs so small that every cut, nest and count can be simulated."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from backends.rdu.allocate.plan import plan_section
from backends.rdu.compile import BUDGETS, unplaced
from backends.rdu.cut.search import Cutter
from backends.rdu.cut.sections import Partition, materialise
from backends.rdu.cut.signature import signature
from backends.rdu.cut.ways import Section
from backends.rdu.cut.weigh import Weigher
from backends.rdu.fuse.indexed import Indexed
from backends.rdu.fuse.stages import form_stages
from backends.rdu.infeasibility import DoesNotFitError
from backends.rdu.stream.forms import counts_of, seeds
from backends.rdu.stream.nests import (
    MOST_OUTER,
    NestedStage,
    Phase,
    inner_cuttings,
    still_phase,
    streaks,
)
from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from pef.decoded import Configuration
from pef.exchange import ONE
from pef.machine import Machine
from runtime.timing.network import Network
from runtime.timing.simulate import execute
from tests.backends.inner_loops import with_inner_loop
from tests.backends.machines import small_machine

HOPS = 4
"""Switches between any two units: nothing is placed here, so that all cuts are compared on equal terms."""

MOST_TIMES = 1.05

KEPT = 2
"""Nests of each phase that are tried in sections of several phases."""

MACHINE = replace(small_machine(8, pmu_bytes=1 << 14), program_load_us=0.4, argument_load_us=0.1, launch_us=0.1)
"""Small enough for cuts to matter, and quick to load, so that they do not all cost the same."""


class RandomNet:
    """A chain of products, norms, reductions and attention on rows of features, with skips."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(7919 * seed)
        self.builder = GraphBuilder(SectionKind.FWD)
        self.builder.location = Location("model.py", 1, "net")
        self.symbols: list[Symbol] = []
        batch, rows, width = (self.random.choice(sizes) for sizes in ((2, 3, 4, 8), (32, 64, 128), (32, 48, 64)))
        x = self.symbol("x", SymbolKind.INPUT, (batch, rows, width))
        for number in range(self.random.randint(1, 2)):
            x = self.layer(x, number)
        self.symbols.append(Symbol("y", x.type, SymbolKind.OUTPUT))
        self.builder.output("y", x)

    def symbol(self, name: str, kind: SymbolKind, shape: tuple[int, ...]) -> Value:
        tensor = TensorType(DType.BF16, shape)
        self.symbols.append(Symbol(name, tensor, kind))
        return self.builder.input(name, tensor)

    def add(self, name: str, *operands: Value, **attributes: object) -> Value:
        return self.builder.add(OPS[name](**attributes), *operands)

    def product(self, left: Value, right: Value) -> Value:
        return self.add("matmul", left, right, dtype=DType.BF16)

    def layer(self, x: Value, number: int) -> Value:
        """One more layer behind `x`, of its shape."""
        batch, rows, width = x.type.shape
        kind = self.random.choice(("product", "product", "bottleneck", "gate", "attention", "norm", "centred"))
        if kind == "product":
            flat = self.add("reshape", x, shape=(batch * rows, width))
            weight = self.symbol(f"w{number}", SymbolKind.PARAMETER, (width, width))
            return self.add("reshape", self.add("tanh", self.product(flat, weight)), shape=x.type.shape)
        if kind == "bottleneck":
            narrow = self.random.choice((width // 2, width // 4))
            down = self.symbol(f"down{number}", SymbolKind.PARAMETER, (width, narrow))
            up = self.symbol(f"up{number}", SymbolKind.PARAMETER, (narrow, width))
            flat = self.add("reshape", x, shape=(batch * rows, width))
            return self.add("reshape", self.product(self.add("tanh", self.product(flat, down)), up), shape=x.type.shape)
        if kind == "gate":
            weight = self.symbol(f"gate{number}", SymbolKind.PARAMETER, (width, width))
            flat = self.add("reshape", x, shape=(batch * rows, width))
            gate = self.add("reshape", self.add("sigmoid", self.product(flat, weight)), shape=x.type.shape)
            return self.add("mul", x, gate)
        if kind == "attention":
            scores = self.product(x, self.add("permute", x, dims=(0, 2, 1)))
            return self.add("add", self.product(self.add("softmax", scores, dim=2), x), x)
        if kind == "norm":
            return self.add("softmax", x, dim=self.random.choice((1, 2)))
        total = self.add("sum", x, dims=(self.random.choice((0, 1, 2)),), keepdim=True)
        return self.add("sub", x, self.add("tanh", total))

    @functools.cached_property
    def graph(self) -> Graph:
        return self.builder.build()


class BruteForce:
    """Every mapping of a graph, by simulated cycles."""

    def __init__(self, net: RandomNet, machine: Machine) -> None:
        self.net, self.machine = net, machine
        self.stages = form_stages(net.graph, fuse=True)
        self.nested = [NestedStage.of(stage) for stage in self.stages]
        self.ranked: dict[tuple[int, int], list[Phase]] = {}
        self.known: dict[tuple[int, int], list[Phase]] = {}
        self.load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)

    def cycles(self, cut: Sequence[Section]) -> float:
        """Simulated cycles of a cut; infinite where it does not fit."""
        ends = list(itertools.accumulate((section.length for section in cut), initial=0))
        return sum(self.section_cycles(start, section.phases) for start, section in zip(ends, cut))

    def section_cycles(self, start: int, phases: tuple[Phase, ...]) -> float:
        """Simulated cycles of the section of these phases, which begins at a stage; all others stand alone."""
        length = sum(len(phase.stages) for phase in phases)
        alone = [Section((still_phase([stage], self.machine.pcu_lanes),), 0.0) for stage in self.nested]
        sections = (*alone[:start], Section(phases, 0.0), *alone[start + length :])
        cut = materialise(Partition(self.net.graph, Indexed(), tuple(self.stages), sections))
        symbols = {symbol.name: symbol for symbol in (*self.net.symbols, *cut.symbols)}
        section = cut.sections[start]
        key = signature(section, symbols)
        try:
            record = unplaced(plan_section(section, self.machine), key, symbols, self.machine)
        except DoesNotFitError:
            return float("inf")
        configuration = Configuration.of(record, self.machine, "brute force")
        slots = range(len(key.symbols))
        return execute(configuration, [0 for _ in slots], slots, "section", ONE).cycles + self.load

    def best(self) -> float:
        """Cycles of the best mapping: sections one after another, so the best of each range of stages."""
        count = len(self.stages)
        total = [0.0] * (count + 1)
        for start in reversed(range(count)):
            total[start] = min(
                self.section_cycles(start, phases) + total[end]
                for end in range(start + 1, count + 1)
                for phases in self.sections(start, end)
            )
        return total[0]

    def sections(self, start: int, end: int) -> Iterator[tuple[Phase, ...]]:
        """Every way to run a range of stages as one section; where it has several phases, in the best nests of each."""
        yield from ((phase,) for phase in self.phases(start, end))
        for middle in range(start + 1, end):
            for phase in self.best_phases(start, middle):
                for rest in self.best_sections(middle, end):
                    yield phase, *rest

    def best_sections(self, start: int, end: int) -> Iterator[tuple[Phase, ...]]:
        """Ways to continue a section, in the best nests of each phase."""
        if start == end:
            yield ()
        for middle in range(start + 1, end + 1):
            for phase in self.best_phases(start, middle):
                for rest in self.best_sections(middle, end):
                    yield phase, *rest

    def best_phases(self, start: int, end: int) -> list[Phase]:
        """The nests that are fastest in a section of their own."""
        if (start, end) not in self.ranked:
            ranked = sorted(self.phases(start, end), key=lambda phase: self.section_cycles(start, (phase,)))
            self.ranked[start, end] = ranked[:KEPT]
        return self.ranked[start, end]

    def phases(self, start: int, end: int) -> list[Phase]:
        """Every nest in which a range of stages can stream as one phase."""
        if (start, end) not in self.known:
            self.known[start, end] = list(self.all_phases(start, end - start))
        return self.known[start, end]

    def all_phases(self, start: int, length: int) -> Iterator[Phase]:
        """Along every outer loop, with every count, and with every inner loop; still where a stage cannot stream."""
        found = False
        for streak in streaks(self.nested[start:]):
            if len(streak.stages) >= length:
                found = True
                for count in counts_of(streak.divisors[length - 1], MOST_OUTER):
                    outer = streak.phase(length, count)
                    yield outer
                    yield from self.with_inner_loops(outer)
        if not found and length == 1:
            yield still_phase(self.nested[start : start + 1], MACHINE.pcu_lanes)

    def with_inner_loops(self, outer: Phase) -> Iterator[Phase]:
        """The phase with every inner loop that it can have."""
        seen = set()
        for position, stage in enumerate(outer.stages):
            for seed in seeds(stage.form):
                cuttings, divisor = inner_cuttings(outer, position, seed)
                if divisor > 1 and tuple(cuttings) not in seen:
                    seen.add(tuple(cuttings))
                    yield from (with_inner_loop(outer, cuttings, count) for count in counts_of(divisor, MOST_OUTER)[1:])


FULL = [pytest.param(range(first, first + 10), marks=pytest.mark.full, id=str(first)) for first in range(0, 200, 10)]


@pytest.mark.parametrize("seeds", [pytest.param((2, 3, 6, 9, 22, 36), id="few"), *FULL])
def test_no_other_mapping_is_much_faster(seeds: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "_depth", lambda self, net: HOPS)
    slower = {seed: times for seed in seeds if (times := times_the_best(seed)) > MOST_TIMES}
    assert not slower, slower


def times_the_best(seed: int) -> float:
    """Simulated cycles of the compiler's mapping of a random graph, as multiples of those of the best."""
    net = RandomNet(seed)
    brute_force = BruteForce(net, MACHINE)
    weigh = Weigher(net.graph, brute_force.stages, Indexed(), MACHINE, ONE)
    own = Cutter(net.graph, brute_force.stages, MACHINE, BUDGETS[0], weigh=weigh).best()
    return brute_force.cycles(own) / brute_force.best()
