"""The RDU backend: a program of graphs to one PEF.

    partition_graph ─▶ sections ─ plan_section ─▶ wire ─▶ place ─▶ route ─▶ emit

Sections of equal structure share one configuration, so compile time follows the sections that differ. What the steps
decide is a `Plan`: it can be stopped after any of them, written as text, changed, and taken on from there (`dump/`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from backends.rdu.allocate.buffers import Layout
from backends.rdu.cut.cut_section import CutSection
from backends.rdu.cut.sections import Partition, materialise, partition_graph, prepare_graph, stream_partition
from backends.rdu.cut.side_by_side import SideBySide
from backends.rdu.cut.signature import Signature, signature
from backends.rdu.cut.weigh import fastest_plan
from backends.rdu.emit.memory import place_symbols, with_shared_bandwidth
from backends.rdu.emit.predict import predict_configuration
from backends.rdu.emit.records import emit_configuration
from backends.rdu.fuse.indexed import Indexed
from backends.rdu.fuse.rules_file import Rule
from backends.rdu.microbatches import Microbatches
from backends.rdu.place.place import place
from backends.rdu.plan import Configured, Plan, PlannedGraph, Step
from backends.rdu.route.route import Routing, route
from backends.rdu.wire.netlist import Netlist, Placement
from backends.rdu.wire.nets import wire
from ir.collector import collector_paused
from ir.errors import InfeasibleError, Problem, UnsupportedError
from ir.graph import Graph, Program, SectionKind, Symbol
from ir.kernels.processor import host_cores
from ir.location import Location
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_machine, encode_type
from pef.decoded import Configuration
from pef.exchange import Replicas
from pef.machine import Machine

BUDGETS = (0.9, 0.7, 0.5, 0.3, 0.15)
"""Shares of the machine's units that sections may plan with; the next is tried where a section does not fit."""

CUT_SHARE = 0.7
"""The part of the mapping that cutting takes, for progress: placing goes on beside it."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the mapping that is behind."""

Placer = Callable[[Netlist, Machine, int], Placement]
"""Gives every unit of a netlist a site, with a seed."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """fuse: the optimiser's sections (o3), else one operator each (o0), but for what `rules` fuse where they are given
    (o1); seed: of placement. replicas: the fewest of a
    data parallel run, 0 where the program is not data parallel; microbatches: the pieces to stream a batch in, None for
    those that are fastest. budgets: the shares of the machine that are tried in turn; placer: places the units."""

    fuse: bool = True
    seed: int = 0
    replicas: int = 0
    microbatches: Microbatches | None = None
    rules: tuple[Rule, ...] | None = None
    budgets: tuple[float, ...] = BUDGETS
    placer: Placer = place

    def partition(self, graph: Graph, machine: Machine, budget: float) -> Partition:
        """The sections of a graph."""
        pieces = self.pieces(graph.kind)
        return partition_graph(
            graph,
            machine,
            fuse=self.fuse,
            budget=budget,
            rules=self.rules,
            microbatches=pieces,
            replicas=self.predicted,
        )

    def prepared(self, graph: Graph, machine: Machine) -> tuple[Graph, Indexed]:
        """The graph that sections are cut from, and what of it goes by index."""
        return prepare_graph(graph, machine, fuse=self.fuse)

    def streamed(self, graph: PlannedGraph, machine: Machine, budget: float) -> Partition:
        """The partition of a graph into sections that are given."""
        assert graph.partition is not None
        pieces = self.pieces(graph.graph.kind)
        return stream_partition(
            graph.partition,
            graph.lengths,
            machine,
            fuse=self.fuse,
            budget=budget,
            microbatches=pieces,
            replicas=self.predicted,
        )

    def pieces(self, kind: SectionKind) -> Microbatches | None:
        """The pieces for graphs of one kind: only those that see samples stream them."""
        return self.microbatches if kind is SectionKind.FWD or kind.back_propagates else None

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
    plan = Plan.of(program)
    advance(plan, machine, options, progress=progress)
    return emit_program(plan, machine, options, header)


def advance(
    plan: Plan,
    machine: Machine,
    options: BackendOptions = BackendOptions(),
    last: Step = Step.ROUTE,
    *,
    progress: Progress = lambda what, done: None,
) -> None:
    """Take a plan on, from wherever it is, to the end of the step `last`. Raises as `compile_program` does."""
    UnsupportedError.raise_if(_empty_tensors(plan.program))
    planner = _Planner(plan, machine, options, last)
    count = max(1, len(plan.graphs))
    with collector_paused(), ThreadPoolExecutor(host_cores()) as crew:
        try:
            for number, graph in enumerate(plan.graphs):
                progress(f"cutting {graph.graph.kind.value}", CUT_SHARE * number / count)
                planner.begin(number, crew)
            for number in range(len(plan.graphs)):
                planner.end(
                    number, crew, _part(progress, CUT_SHARE + (1 - CUT_SHARE) * number / count, (1 - CUT_SHARE) / count)
                )
        except BaseException:
            planner.cuts.cancel()
            crew.shutdown(cancel_futures=True)
            raise


def _part(progress: Progress, behind: float, share: float) -> Progress:
    """Progress of a part of the mapping: `behind` is done, and it is a `share` of the whole."""
    return lambda what, done: progress(what, behind + share * done)


def emit_program(
    plan: Plan, machine: Machine, options: BackendOptions, header: Mapping[str, Any] | None = None
) -> pb.Pef:
    """The PEF of a plan in which everything is decided. Raises DoesNotFitError where symbols exceed the memory."""
    emitter = _Emitter(plan, machine, options)
    for name, value in (header or {}).items():
        setattr(emitter.record.header, name, value if isinstance(value, str) else canonical_json(value))
    for graph in plan.graphs:
        emitter.add(graph)
    emitter.place_in_memory()
    emitter.predict()
    return emitter.record


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
    machine = with_shared_bandwidth(machine, program.symbols)
    for graph in program.graphs:
        cut = materialise(options.partition(graph, machine, options.budgets[0]))
        known = {**program.symbol, **{symbol.name: symbol for symbol in cut.symbols}}
        predictions: dict[Signature, float] = {}
        last: Signature | None = None
        for section in cut.sections:
            key = signature(section, known)
            if key not in predictions:
                types = {name: known[name].type for name in key.symbols}
                predictions[key] = fastest_plan(section, types, machine, options.predicted)[1]
            total += predictions[key] - (machine.cycles(machine.program_load_us) if key == last else 0.0)
            last = key
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


class _Planner:
    """Takes the graphs of a plan on, to the end of the step `last`."""

    def __init__(self, plan: Plan, machine: Machine, options: BackendOptions, last: Step) -> None:
        self.plan = plan
        self.machine = machine
        self.reckoned = with_shared_bandwidth(machine, plan.program.symbols)
        self.options = options
        self.last = last
        self.symbols = dict(plan.program.symbol)
        self.given = list(plan.graphs)
        self.budgets = [self._budgets(graph) for graph in plan.graphs]
        """Those not yet tried for each graph."""
        fresh = [entry.graph for entry in plan.graphs if entry.cut is None and entry.partition is None]
        self.cuts = SideBySide(functools.partial(options.partition, machine=self.reckoned), fresh, options.budgets[0])
        self.waiting: dict[Signature, Future[Configured]] = {}

    def _budgets(self, graph: PlannedGraph) -> list[float]:
        """The budgets of a graph, largest first; one operator per section has no other than the first."""
        if graph.budget is not None:
            return [graph.budget]
        retries = self.options.fuse or self.options.rules is not None
        return list(self.options.budgets if retries else self.options.budgets[:1])

    def begin(self, number: int, crew: Executor) -> None:
        """Cut one graph and lay out its sections, under the largest budget with which all of them fit. The crew places
        and routes them beside whatever is done next."""
        while True:
            try:
                self._begin(number, self.budgets[number].pop(0), crew)
                break
            except InfeasibleError:
                if not self.budgets[number]:
                    raise

    def end(self, number: int, crew: Executor, progress: Progress) -> None:
        """Wait until one graph is placed and routed; where that cannot be, try it with a smaller budget."""
        while True:
            try:
                self._end(self.plan.graphs[number], progress)
                break
            except InfeasibleError:
                if not self.budgets[number]:
                    raise
                self.begin(number, crew)

    def _begin(self, number: int, budget: float, crew: Executor) -> None:
        graph = self._cut(self.given[number], budget)
        if graph.cut is not None:
            known = {**self.symbols, **{symbol.name: symbol for symbol in graph.cut.symbols}}
            keys = [signature(section, known) for section in graph.cut.sections]
            if self.last.includes(Step.ALLOCATE):
                sections = dict(zip(reversed(keys), reversed(graph.cut.sections)))
                fresh = {
                    key: self._allocated(sections[key], {name: known[name].type for name in key.symbols}, key)
                    for key in dict.fromkeys(keys)
                    if key not in self.waiting
                }
                self.waiting |= {key: crew.submit(self._routed, allocated) for key, allocated in fresh.items()}
            graph = replace(graph, keys=tuple(keys))
            self.symbols = known
        self.plan.graphs[number] = graph

    def _end(self, graph: PlannedGraph, progress: Progress) -> None:
        keys = graph.keys if self.last.includes(Step.ALLOCATE) else ()
        kind, count = graph.graph.kind.value, len(keys)
        fresh: dict[Signature, Configured] = {}
        for index, key in enumerate(keys):
            progress(f"placing {kind} section {index + 1} of {count}", index / count)
            fresh[key] = self.waiting[key].result()
        self.plan.configurations |= fresh

    def _cut(self, graph: PlannedGraph, budget: float) -> PlannedGraph:
        """The graph with its sections, streaming unless the cut is the last step."""
        graph = replace(graph, budget=budget)
        if graph.cut is not None:
            return graph
        if graph.partition is None:
            partition = self.cuts.partition(graph.graph, budget)
            lengths = tuple(section.length for section in partition.sections)
            graph = replace(graph, partition=partition, lengths=lengths)
        elif not graph.partition.sections:
            graph = replace(graph, partition=self.options.streamed(graph, self.reckoned, budget))
        if self.last is Step.CUT or graph.partition is None:
            return graph
        return replace(graph, cut=materialise(graph.partition))

    def _allocated(self, section: CutSection, types: Mapping[str, TensorType], key: Signature) -> Configured:
        """What is known of a configuration, or its buffers and nets; `types` are those of its symbols."""
        if key in self.plan.configurations:
            return self.plan.configurations[key]
        layout, _ = fastest_plan(section, types, self.reckoned, self.options.predicted)
        return Configured(layout, wire(layout, self.machine))

    def _routed(self, known: Configured) -> Configured:
        """A configuration up to the last step, from wherever it is. Several threads do this side by side: most of it
        runs without the interpreter's lock."""
        netlist = known.wiring.netlist
        if known.placement is None and self.last.includes(Step.PLACE):
            known = replace(known, placement=self.options.placer(netlist, self.machine, self.options.seed))
        if known.routing is None and known.placement is not None and self.last.includes(Step.ROUTE):
            known = replace(known, routing=route(netlist, known.placement, self.machine))
        return known


class _Emitter:
    """Collects the planned graphs of a program in one record."""

    def __init__(self, plan: Plan, machine: Machine, options: BackendOptions) -> None:
        self.plan = plan
        self.machine = machine
        self.options = options
        self.record = pb.Pef(machine=encode_machine(machine))
        self.record.header.name = plan.program.name
        self.record.header.replicas = options.replicas
        self.symbols = dict(plan.program.symbol)
        self.configured: dict[Signature, int] = {}
        self.strings: dict[str, int] = {}

    def add(self, planned: PlannedGraph) -> None:
        """Append the sections of a graph."""
        assert planned.cut is not None
        graph = planned.graph
        self.symbols.update((symbol.name, symbol) for symbol in planned.cut.symbols)
        index_of = {name: index for index, name in enumerate(self.symbols)}
        for number, (section, key) in enumerate(zip(planned.cut.sections, planned.keys)):
            entry = self.record.sections.add(kind=graph.kind.value, configuration=self._configuration(key))
            entry.name = f"{graph.name or graph.kind.value.lower()}_{number}"
            entry.rule = section.rule
            entry.bindings.extend(index_of[name] for name in key.symbols)
            entry.locations.extend(self._location(node.location) for stage in section.stages for node in stage.nodes)

    def _configuration(self, key: Signature) -> int:
        """The number of a configuration, which is appended when it is first met."""
        if key in self.configured:
            return self.configured[key]
        decided = self.plan.configurations[key]
        assert decided.placement is not None and decided.routing is not None
        slots = {name: index for index, name in enumerate(key.symbols)}
        types = [self.symbols[name].type for name in key.symbols]
        self.record.configurations.append(
            emit_configuration(
                decided.layout, decided.wiring, decided.placement, decided.routing, slots, types, self.machine
            )
        )
        self.configured[key] = len(self.record.configurations) - 1
        return self.configured[key]

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
        known: dict[tuple[int, tuple[int, ...], bool], pb.Prediction] = {}
        last: int | None = None
        for section in self.record.sections:
            number, loaded = section.configuration, section.configuration == last
            tiers = tuple(self.record.symbols[symbol].tier for symbol in section.bindings)
            key = number, tiers, loaded
            if key not in known:
                known[key] = predict_configuration(
                    decoded[number], tiers, self.machine, self.options.predicted, loaded=loaded
                )
            last = number
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
