"""The RDU backend: a program of graphs to one PEF.

    cut_graph ─▶ sections ─ plan_section ─▶ wire ─▶ place ─▶ route ─▶ emit

Sections of equal structure share one configuration, so compile time follows the sections that differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.rdu.allocate.buffers import Layout
from backends.rdu.allocate.plan import plan_section
from backends.rdu.cut.sections import CutGraph, CutSection, cut_graph
from backends.rdu.cut.signature import Signature, signature
from backends.rdu.emit.memory import place_symbols
from backends.rdu.emit.predict import predict_configuration
from backends.rdu.emit.records import emit_configuration
from backends.rdu.fuse.rules_file import Rule
from backends.rdu.microbatches import Microbatches
from backends.rdu.place.place import place
from backends.rdu.route.route import Routing, route
from backends.rdu.wire.netlist import Placement
from backends.rdu.wire.nets import wire
from ir.errors import InfeasibleError, Problem, UnsupportedError
from ir.graph import Graph, Program, SectionKind, Symbol
from ir.location import Location
from pef import pef_pb2 as pb
from pef.codec import encode_machine, encode_type
from pef.decoded import Configuration
from pef.exchange import Replicas
from pef.machine import Machine

BUDGETS = (0.9, 0.7, 0.5, 0.3, 0.15)
"""Shares of the machine's units that sections may plan with; the next is tried where a section does not fit."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the mapping that is behind."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """fuse: the optimiser's sections (o3), else one operator each (o0), but for what `rules` fuse where they are given
    (o1); seed: of placement. replicas: the fewest of a
    data parallel run, 0 where the program is not data parallel; microbatches: the pieces to stream a batch in, None for
    those that are fastest."""

    fuse: bool = True
    seed: int = 0
    replicas: int = 0
    microbatches: Microbatches | None = None
    rules: tuple[Rule, ...] | None = None

    def cut(self, graph: Graph, machine: Machine, budget: float) -> CutGraph:
        """The sections of a graph."""
        pieces = self.pieces(graph.kind)
        return cut_graph(graph, machine, fuse=self.fuse, budget=budget, rules=self.rules, microbatches=pieces)

    def pieces(self, kind: SectionKind) -> Microbatches | None:
        """The pieces for graphs of one kind: only those that see samples stream them."""
        return self.microbatches if kind in (SectionKind.FWD, SectionKind.BCKWD) else None

    @property
    def predicted(self) -> Replicas:
        """The replicas that times are predicted for: the fewest that exchange anything."""
        return Replicas(max(2, self.replicas))


def compile_program(
    program: Program,
    machine: Machine,
    options: BackendOptions = BackendOptions(),
    *,
    header: Mapping[str, Any] | None = None,
    progress: Progress = lambda what, done: None,
) -> pb.Pef:
    """Map every graph of `program` onto `machine`. Raises UnsupportedError for tensors without elements,
    InfeasibleError where something fits in no way tried."""
    UnsupportedError.raise_if(_empty_tensors(program))
    mapper = _Mapper(program, machine, options)
    for name, value in (header or {}).items():
        setattr(mapper.record.header, name, value if isinstance(value, str) else canonical_json(value))
    for number, graph in enumerate(program.graphs):
        start, share = number / len(program.graphs), 1 / len(program.graphs)
        mapper.add(graph, lambda what, done, start=start, share=share: progress(what, start + share * done))  # type: ignore[misc]
    mapper.place_in_memory()
    mapper.predict()
    return mapper.record


def _empty_tensors(program: Program) -> list[Problem]:
    """Every tensor without elements, at the first line that reads or makes it: buffers and streams hold one or more."""
    found: dict[str, Problem] = {}
    for graph in program.graphs:
        lines = {value.name: node.location for node in reversed(graph.nodes) for value in node.operands}
        lines |= {value.name: node.location for node in graph.nodes for value in node.results}
        for value in graph.values():
            if not value.type.numel and value.name not in found:
                hint = "leave the tensor out: decide by its shape, which is known when compiling"
                found[value.name] = Problem(f"{value.name} has no elements", lines.get(value.name), hint)
    return list(found.values())


def estimate_cycles(program: Program, machine: Machine, options: BackendOptions = BackendOptions()) -> float:
    """Modelled cycles of all sections, loads included, planned but neither placed nor routed: quick enough to compare
    alternatives."""
    total = 0.0
    for graph in program.graphs:
        cut = options.cut(graph, machine, BUDGETS[0])
        known = {**program.symbol, **{symbol.name: symbol for symbol in cut.symbols}}
        predictions: dict[Signature, pb.Prediction] = {}
        for section in cut.sections:
            key = signature(section, known)
            if key not in predictions:
                layout = plan_section(section, machine)
                decoded = Configuration.of(unplaced(layout, key, known, machine), machine, "estimate")
                tiers = [0] * len(key.symbols)
                predictions[key] = predict_configuration(decoded, tiers, machine, options.predicted)
            total += predictions[key].cycles + predictions[key].load_cycles
    return total


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def unplaced(layout: Layout, key: Signature, symbols: Mapping[str, Symbol], machine: Machine) -> pb.Configuration:
    """The configuration of a section whose units have no sites and whose nets have no routes."""
    wiring = wire(layout, machine)
    placement, routing = Placement((0,) * len(wiring.units)), Routing(((),) * len(wiring.connections), ())
    slots = {name: index for index, name in enumerate(key.symbols)}
    types = [symbols[name].type for name in key.symbols]
    return emit_configuration(layout, wiring, placement, routing, slots, types, machine)


@dataclass(frozen=True, slots=True)
class _MappedGraph:
    """The sections of a graph, the symbols they add, and the configurations that no graph before had."""

    sections: list[tuple[CutSection, Signature]]
    symbols: tuple[Symbol, ...]
    fresh: dict[Signature, pb.Configuration] = field(default_factory=dict)


class _Mapper:
    """Collects the mapped graphs of a program in one record."""

    def __init__(self, program: Program, machine: Machine, options: BackendOptions) -> None:
        self.machine = machine
        self.options = options
        self.record = pb.Pef(machine=encode_machine(machine))
        self.record.header.name = program.name
        self.record.header.replicas = options.replicas
        self.symbols = dict(program.symbol)
        self.configured: dict[Signature, int] = {}
        self.strings: dict[str, int] = {}

    def add(self, graph: Graph, progress: Progress) -> None:
        """Map a graph and append its sections."""
        mapped = self._first_that_fits(graph, progress)
        self.symbols.update((symbol.name, symbol) for symbol in mapped.symbols)
        for key, configuration in mapped.fresh.items():
            self.configured[key] = len(self.record.configurations)
            self.record.configurations.append(configuration)
        index_of = {name: index for index, name in enumerate(self.symbols)}
        for number, (section, key) in enumerate(mapped.sections):
            entry = self.record.sections.add(kind=graph.kind.value, configuration=self.configured[key])
            entry.name = f"{graph.name or graph.kind.value.lower()}_{number}"
            entry.rule = section.rule
            entry.bindings.extend(index_of[name] for name in key.symbols)
            entry.locations.extend(self._location(node.location) for stage in section.stages for node in stage.nodes)

    def _first_that_fits(self, graph: Graph, progress: Progress) -> _MappedGraph:
        """The graph under the largest budget whose sections all fit; one operator per section has no other budget."""
        budgets = BUDGETS if self.options.fuse or self.options.rules is not None else BUDGETS[:1]
        for budget in budgets[:-1]:
            try:
                return self._map(graph, budget, progress)
            except InfeasibleError:
                continue
        return self._map(graph, budgets[-1], progress)

    def _map(self, graph: Graph, budget: float, progress: Progress) -> _MappedGraph:
        cut = self.options.cut(graph, self.machine, budget)
        known = {**self.symbols, **{symbol.name: symbol for symbol in cut.symbols}}
        mapped = _MappedGraph([], cut.symbols)
        for index, section in enumerate(cut.sections):
            what = f"mapping {graph.kind.value} section {index + 1} of {len(cut.sections)}"
            progress(what, index / len(cut.sections))
            key = signature(section, known)
            mapped.sections.append((section, key))
            if key not in self.configured and key not in mapped.fresh:
                layout = plan_section(section, self.machine)
                mapped.fresh[key] = self._configure(layout, key, known)
        return mapped

    def _configure(self, layout: Layout, key: Signature, symbols: Mapping[str, Symbol]) -> pb.Configuration:
        wiring = wire(layout, self.machine)
        placement = place(wiring.netlist, self.machine, self.options.seed)
        routing = route(wiring.netlist, placement, self.machine)
        slots = {name: index for index, name in enumerate(key.symbols)}
        types = [symbols[name].type for name in key.symbols]
        return emit_configuration(layout, wiring, placement, routing, slots, types, self.machine)

    def place_in_memory(self) -> None:
        """Give every symbol its memory and append it; lifetimes are positions in the order of sections."""
        names = list(self.symbols)
        lifetimes = dict.fromkeys(names, (0, 0))
        seen: set[str] = set()
        for position, section in enumerate(self.record.sections):
            for name in (names[index] for index in section.bindings):
                lifetimes[name] = (lifetimes[name][0] if name in seen else position, position)
                seen.add(name)
        places = place_symbols(list(self.symbols.values()), lifetimes, self.machine)
        for symbol in self.symbols.values():
            spot = places[symbol.name]
            entry = self.record.symbols.add(name=symbol.name, type=encode_type(symbol.type), kind=symbol.kind.value)
            entry.tier, entry.offset, entry.persistent = spot.tier, spot.offset, spot.persistent
            entry.first, entry.last = spot.first, spot.last

    def predict(self) -> None:
        """Say of every section what the cost model expects; symbols have their memory by now."""
        decoded = [
            Configuration.of(record, self.machine, f"configuration {number}")
            for number, record in enumerate(self.record.configurations)
        ]
        known: dict[tuple[int, tuple[int, ...]], pb.Prediction] = {}
        for section in self.record.sections:
            tiers = tuple(self.record.symbols[symbol].tier for symbol in section.bindings)
            key = section.configuration, tiers
            if key not in known:
                known[key] = predict_configuration(decoded[key[0]], tiers, self.machine, self.options.predicted)
            section.prediction.CopyFrom(known[key])

    def _location(self, location: Location) -> pb.Location:
        file, module = self._string(location.file), self._string(location.module)
        return pb.Location(file=file, line=location.line, module=module)

    def _string(self, text: str) -> int:
        """The index of `text` in the PEF's table of strings."""
        if text not in self.strings:
            self.strings[text] = len(self.record.strings)
            self.record.strings.append(text)
        return self.strings[text]
