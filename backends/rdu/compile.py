"""The RDU backend: a program of graphs to one PEF.

    cut ─ sections ─▶ form_phases ─▶ allocate ─▶ lay_out ─▶ wire ─▶ place ─▶ route ─▶ emit

Sections of equal structure share one configuration, so compile time follows the sections that differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.rdu.allocate import AllocatedPhase, allocate
from backends.rdu.buffers import Layout, lay_out, streamed_bytes
from backends.rdu.emit import emit_configuration
from backends.rdu.infeasibility import Contributor, Resource, require
from backends.rdu.memory import place_symbols
from backends.rdu.netlist import Placement
from backends.rdu.nets import wire
from backends.rdu.phases import Phase, form_phases
from backends.rdu.place import place
from backends.rdu.predict import predict_configuration
from backends.rdu.route import Routing, route
from backends.rdu.sections import CutSection, cut_graph
from backends.rdu.tiling import tile_stage
from ir.errors import InfeasibleError
from ir.graph import Graph, Program, Symbol
from ir.location import Location
from pef import pef_pb2 as pb
from pef.codec import encode_machine, encode_type
from pef.cycles import chain_length
from pef.machine import Machine, SiteKind

BUDGETS = (0.9, 0.7, 0.5, 0.3, 0.15)
"""Shares of the machine's units that sections may plan with; the next is tried where one cannot be placed."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the mapping that is behind."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """fuse: the optimiser's sections (o3), else one operator each (o0); seed: of placement."""

    fuse: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Signature:
    """The structure of a section without names: equal for sections that can share a configuration. `symbols` are the
    symbols it binds, in slot order, and take no part in the comparison."""

    structure: tuple[object, ...]
    symbols: tuple[str, ...] = field(compare=False)


def compile_program(
    program: Program,
    machine: Machine,
    options: BackendOptions = BackendOptions(),
    *,
    header: Mapping[str, Any] | None = None,
    progress: Progress = lambda what, done: None,
) -> pb.Pef:
    """Map every graph of `program` onto `machine`. Raises InfeasibleError where something fits in no way tried."""
    record = pb.Pef(machine=encode_machine(machine))
    record.header.name = program.name
    for name, value in (header or {}).items():
        setattr(record.header, name, value if isinstance(value, str) else canonical_json(value))
    symbols = dict(program.symbol)
    configured: dict[_Signature, int] = {}
    strings = _Strings(record)
    for number, graph in enumerate(program.graphs):
        done, share = number / len(program.graphs), 1 / len(program.graphs)
        report = _part(progress, done, share)
        _compile_graph(graph, symbols, machine, options, record, configured, strings, report)
    _place_in_memory(record, symbols, machine)
    return record


def estimate_cycles(program: Program, machine: Machine, options: BackendOptions = BackendOptions()) -> float:
    """Modelled cycles of all sections, loads included, planned but neither placed nor routed: quick enough to compare
    alternatives."""
    total = 0.0
    for graph in program.graphs:
        cut = cut_graph(graph, machine, fuse=options.fuse, budget=BUDGETS[0])
        known = {**program.symbol, **{symbol.name: symbol for symbol in cut.symbols}}
        for section in cut.sections:
            layout = plan_section(section, machine)
            wiring = wire(layout, machine)
            unplaced, unrouted = Placement((0,) * len(wiring.units)), Routing(((),) * len(wiring.connections), ())
            names = dict.fromkeys([*section.loads.values(), *(store.symbol for store in section.stores)])
            slots = {name: index for index, name in enumerate(names)}
            types = [known[name].type for name in names]
            planned = emit_configuration(layout, wiring, unplaced, unrouted, slots, types, machine)
            prediction = predict_configuration(planned, machine)
            total += prediction.cycles + prediction.load_cycles
    return total


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _part(progress: Progress, start: float, share: float) -> Progress:
    """Progress of a part that begins at `start` and makes `share` of the whole."""
    return lambda what, done: progress(what, start + share * done)


def _compile_graph(
    graph: Graph,
    symbols: dict[str, Symbol],
    machine: Machine,
    options: BackendOptions,
    record: pb.Pef,
    configured: dict[_Signature, int],
    strings: _Strings,
    progress: Progress,
) -> None:
    """Append the sections of one graph, with the largest budget whose sections all fit."""
    for attempt, budget in enumerate(BUDGETS):
        try:
            cut = cut_graph(graph, machine, fuse=options.fuse, budget=budget)
            known = {**symbols, **{symbol.name: symbol for symbol in cut.symbols}}
            fresh: list[tuple[_Signature, pb.Configuration]] = []
            sections = []
            for index, section in enumerate(cut.sections):
                progress(
                    f"mapping {graph.kind.value} section {index + 1} of {len(cut.sections)}", index / len(cut.sections)
                )
                signature = _signature(section, known)
                planned = configured.get(signature)
                if planned is None:
                    found = [i for i, (other, _) in enumerate(fresh) if other == signature]
                    planned = len(record.configurations) + (found[0] if found else len(fresh))
                    if not found:
                        fresh.append((signature, _configure(section, signature, known, machine, options)))
                sections.append((section, signature, planned))
            break
        except InfeasibleError:
            if attempt == len(BUDGETS) - 1 or not options.fuse:
                raise
    symbols.update(known)
    for signature, configuration in fresh:
        configured[signature] = len(record.configurations)
        record.configurations.append(configuration)
    index_of = {name: index for index, name in enumerate(symbols)}
    for number, (section, signature, planned) in enumerate(sections):
        entry = record.sections.add(
            kind=graph.kind.value,
            name=f"{graph.name or graph.kind.value.lower()}_{number}",
            configuration=planned,
        )
        entry.bindings.extend(index_of[name] for name in signature.symbols)
        entry.locations.extend(strings.location(node.location) for stage in section.stages for node in stage.nodes)
        entry.prediction.CopyFrom(predict_configuration(record.configurations[planned], machine))


def _signature(section: CutSection, symbols: Mapping[str, Symbol]) -> _Signature:
    """Number values and symbols in order of appearance, and spell out the section in numbers, types and operators."""
    values: dict[str, int] = {}
    slots: dict[str, int] = {}

    def number(table: dict[str, int], name: str) -> int:
        return table.setdefault(name, len(table))

    structure: list[object] = []
    for stage in section.stages:
        for node in stage.nodes:
            operands = tuple(number(values, value.name) for value in node.operands)
            results = tuple((number(values, value.name), value.type) for value in node.results)
            structure.append((node.op, operands, results))
        structure.append(tuple(number(values, value.name) for value in stage.writes))
    for name in sorted(section.loads, key=lambda name: number(values, name)):
        symbol = section.loads[name]
        structure.append((number(values, name), number(slots, symbol), symbols[symbol].type))
    for store in section.stores:
        views = tuple(node.op for node in store.views)
        structure.append((number(values, store.base.name), views, store.value.type, number(slots, store.symbol)))
    return _Signature(tuple(structure), tuple(slots))


def _configure(
    section: CutSection,
    signature: _Signature,
    symbols: Mapping[str, Symbol],
    machine: Machine,
    options: BackendOptions,
) -> pb.Configuration:
    layout = plan_section(section, machine)
    wiring = wire(layout, machine)
    placement = place(wiring.netlist, machine, options.seed)
    routing = route(wiring.netlist, placement, machine)
    slots = {name: index for index, name in enumerate(signature.symbols)}
    types = [symbols[name].type for name in signature.symbols]
    return emit_configuration(layout, wiring, placement, routing, slots, types, machine)


def plan_section(section: CutSection, machine: Machine) -> Layout:
    """Phases, tiles, PCUs and buffers of a section: with the fastest tiles, or the finest where those do not fit.

    Raises DoesNotFitError with the biggest contributors.
    """
    phases = form_phases(section.stages)
    pcus = len(machine.working_sites(SiteKind.PCU))
    require(Resource.PCU, pcus, _least_pcus(phases, machine))
    moved = _dram_bytes(section, phases)
    layout = lay_out(section, allocate(phases, moved, machine, pcus * 9 // 10), machine)
    pmus = len(machine.working_sites(SiteKind.PMU))
    if sum(buffer.pmus for buffer in layout.buffers) > pmus:
        layout = lay_out(section, allocate(phases, moved, machine, pcus * 9 // 10, finest=True), machine)
        asked = [Contributor(f"{buffer.name} {buffer.type}", buffer.pmus) for buffer in layout.buffers]
        require(Resource.PMU, pmus, asked)
    return layout


def _least_pcus(phases: Sequence[Phase], machine: Machine) -> list[Contributor]:
    """What every stage needs at the very least, whatever its tiles."""
    return [
        Contributor(streamed.stage.name, chain_length(tile_stage(streamed, 1).work, machine))
        for phase in phases
        for streamed in phase.stages
    ]


def _dram_bytes(section: CutSection, phases: Sequence[Phase]) -> list[int]:
    """Bytes each phase streams to and from memory."""
    bare = [AllocatedPhase(phase, 1, (), (), 1) for phase in phases]
    return [streamed_bytes(section, index, bare) for index in range(len(phases))]


def _place_in_memory(record: pb.Pef, symbols: Mapping[str, Symbol], machine: Machine) -> None:
    """Give every symbol its memory and append it; lifetimes are positions in the order of sections."""
    names = list(symbols)
    lifetimes = dict.fromkeys(names, (0, 0))
    seen: set[str] = set()
    for position, section in enumerate(record.sections):
        for index in section.bindings:
            first = lifetimes[names[index]][0] if names[index] in seen else position
            seen.add(names[index])
            lifetimes[names[index]] = (first, position)
    places = place_symbols(list(symbols.values()), lifetimes, machine)
    for symbol in symbols.values():
        spot = places[symbol.name]
        record.symbols.append(
            pb.Symbol(
                name=symbol.name,
                type=encode_type(symbol.type),
                kind=symbol.kind.value,
                tier=spot.tier,
                offset=spot.offset,
                persistent=spot.persistent,
                first=spot.first,
                last=spot.last,
            )
        )


class _Strings:
    """The string table of a PEF."""

    def __init__(self, record: pb.Pef) -> None:
        self.record = record
        self.index: dict[str, int] = {}

    def location(self, location: Location) -> pb.Location:
        return pb.Location(file=self._number(location.file), line=location.line, module=self._number(location.module))

    def _number(self, text: str) -> int:
        if text not in self.index:
            self.index[text] = len(self.record.strings)
            self.record.strings.append(text)
        return self.index[text]
