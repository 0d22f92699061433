"""A plan as YAML and back: what each step has decided, graph by graph, configuration by configuration.

    cut       stages of every graph, and the sections they form
    stream    phases with their loop nests; what sections load and store
    allocate  PCUs of every stage; buffers, ports and streams
    place     the site of every unit
    route     the links of every net, as pairs of switches

The program itself is text of its own (`ir/text.py`), and so is the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from backends.rdu.allocate.buffers import Buffer, Layout, PhaseLayout
from backends.rdu.compile import BackendOptions
from backends.rdu.cut.cut_section import CutGraph, CutSection, Store
from backends.rdu.cut.sections import Partition
from backends.rdu.cut.signature import Signature, signature
from backends.rdu.dump.codec import Codec, Data
from backends.rdu.dump.decisions import decode_routes, decode_sites, encode_routes, encode_sites
from backends.rdu.fuse.indexed import Gather
from backends.rdu.fuse.stages import StageNodes
from backends.rdu.microbatches import Microbatches
from backends.rdu.plan import Configured, Plan, PlannedGraph, Step
from backends.rdu.stream.nests import Phase
from backends.rdu.wire.nets import wire
from ir.errors import Problem, UsageError
from ir.graph import Graph, Program, Symbol
from ir.reading import what_went_wrong
from pef.machine import Machine

FORMAT = 1

_OPTIONS = ("fuse", "seed", "replicas", "microbatches", "budgets")
"""What later steps depend on; rules have done their work when the cut is over."""


def print_plan(plan: Plan, machine: Machine, options: BackendOptions, last: Step) -> str:
    """The plan as YAML, up to what `last` decides; the program is not in it."""
    plain = Codec((), ())
    data = {
        "format": FORMAT,
        "step": last.value,
        "options": {name: plain.encode(getattr(options, name)) for name in _OPTIONS},
        "machine": plain.encode(machine),
        "graphs": [_graph(graph, plan.program, machine, options, last) for graph in plan.graphs],
    }
    if last.includes(Step.ALLOCATE):
        data["configurations"] = list(_configurations(plan, machine, options, last))
    return _yaml(data)


def parse_plan(text: str, program: Program, source: str) -> tuple[Plan, Machine, BackendOptions, Step]:
    """The plan that prints as `text`, of `program`. Raises UsageError with `source` and the place in it."""
    data = _parsed(text, source)
    plain = Codec((), ())
    machine: Machine = plain.decode(Machine, data["machine"], f"{source}: machine")
    options = _decode_options(data["options"], f"{source}: options")
    last = Step(data["step"])
    plan = Plan.of(program)
    symbols = dict(program.symbol)
    codecs = []
    if len(data["graphs"]) != len(program.graphs):
        raise UsageError(Problem("the plan and the program have different graphs", source))
    for number, (entry, graph) in enumerate(zip(data["graphs"], program.graphs)):
        reader = _GraphReader(entry, graph, program, machine, options, f"{source}: graphs[{number}]")
        plan.graphs[number] = reader.cut_only() if last is Step.CUT else reader.streaming(symbols)
        codecs.append(reader.codec)
    for number, entry in enumerate(data.get("configurations", [])):
        where = f"{source}: configurations[{number}]"
        at, position = entry["section"]
        key, configured = _decode_configuration(entry, plan.graphs[at], position, codecs[at], machine, where)
        plan.configurations[key] = configured
    return plan, machine, options, last


# -- to data --------------------------------------------------------------------------------------------------------


def _graph(planned: PlannedGraph, program: Program, machine: Machine, options: BackendOptions, last: Step) -> Data:
    prepared, _ = options.prepared(planned.graph, machine)
    cut = planned.cut if last is not Step.CUT else None
    stages = _stages(planned, cut)
    table = Codec((planned.graph, prepared), program.symbols)
    codec = Codec((planned.graph, prepared), program.symbols, stages)
    data = {
        "graph": planned.graph.kind.value,
        "name": planned.graph.name,
        "budget": planned.budget,
        "stages": [{"stage": f"{i} {stage.name}", **table.encode(stage)} for i, stage in enumerate(stages)],
    }
    if cut is None:
        assert planned.partition is not None
        return {**data, "sections": list(_cut_sections(planned.partition, planned.lengths, codec))}
    sections = [codec.encode(_section_fields(section)) for section in cut.sections]
    return {**data, "symbols": codec.encode(cut.symbols), "sections": sections}


def _stages(planned: PlannedGraph, cut: CutGraph | None) -> Sequence[StageNodes]:
    if cut is not None:
        return [stage for section in cut.sections for stage in section.stages]
    assert planned.partition is not None
    return planned.partition.stages


def _cut_sections(partition: Partition, lengths: Sequence[int], codec: Codec) -> Iterator[Data]:
    start = 0
    for number, length in enumerate(lengths):
        entry: Data = {"stages": codec.encode(partition.stages[start : start + length])}
        if partition.rules:
            entry |= {"rule": partition.rules[number], "group": partition.groups[number]}
        yield entry
        start += length


def _section_fields(section: CutSection) -> dict[str, Any]:
    """What a section consists of beside its graph."""
    return {
        "rule": section.rule,
        "stages": section.stages,
        "loads": section.loads,
        "gathers": section.gathers,
        "stores": section.stores,
        "phases": section.phases,
    }


def _configurations(plan: Plan, machine: Machine, options: BackendOptions, last: Step) -> Iterator[Data]:
    done: set[Signature] = set()
    for number, planned in enumerate(plan.graphs):
        assert planned.cut is not None
        prepared, _ = options.prepared(planned.graph, machine)
        codec = Codec((planned.graph, prepared), plan.program.symbols, _stages(planned, planned.cut))
        for position, (section, key) in enumerate(zip(planned.cut.sections, planned.keys)):
            if key not in done:
                done.add(key)
                codec.phases = section.phases
                yield {"section": [number, position], **_configuration(plan.configurations[key], codec, machine, last)}


def _configuration(configured: Configured, codec: Codec, machine: Machine, last: Step) -> Data:
    layout = configured.layout
    data: Data = {"phases": codec.encode(layout.phases), "buffers": codec.encode(layout.buffers)}
    if last.includes(Step.PLACE) and configured.placement is not None:
        data["sites"] = encode_sites(configured.wiring, configured.placement)
    if last.includes(Step.ROUTE) and configured.routing is not None:
        data["routes"] = encode_routes(configured.wiring, configured.routing, machine)
    return data


def _yaml(data: Data) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(data, Dumper=dumper, default_flow_style=None, sort_keys=False, width=120, allow_unicode=True)
    return text


# -- from data ------------------------------------------------------------------------------------------------------


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UsageError(Problem(f"this is not YAML: {what_went_wrong(error)}", source)) from error
    keys = {"format", "step", "options", "machine", "graphs"}
    if not isinstance(data, dict) or not keys <= set(data) or data["step"] not in {step.value for step in Step}:
        hint = "write one with snc compile --dump-after or --stop-after"
        raise UsageError(Problem("this is not a dump of a plan", source, hint))
    if data["format"] != FORMAT:
        raise UsageError(Problem(f"this dump has format {data['format']}, and this toolchain reads {FORMAT}", source))
    return data


def _decode_options(data: Data, where: str) -> BackendOptions:
    plain = Codec((), ())
    kinds = {
        "fuse": bool,
        "seed": int,
        "replicas": int,
        "microbatches": Microbatches | None,
        "budgets": tuple[float, ...],
    }
    if set(data) != set(kinds):
        raise UsageError(Problem(f"expected {', '.join(kinds)}", where))
    return BackendOptions(**{name: plain.decode(kinds[name], data[name], f"{where}.{name}") for name in kinds})


class _GraphReader:
    """Reads what is planned about one graph."""

    def __init__(
        self, entry: Data, graph: Graph, program: Program, machine: Machine, options: BackendOptions, where: str
    ) -> None:
        self.entry = entry
        self.graph = graph
        self.where = where
        self.prepared, self.indexed = options.prepared(graph, machine)
        table = Codec((graph, self.prepared), program.symbols)
        stages = [
            table.decode(StageNodes, {k: v for k, v in stage.items() if k != "stage"}, f"{where}.stages[{number}]")
            for number, stage in enumerate(entry["stages"])
        ]
        self.codec = Codec((graph, self.prepared), program.symbols, stages)

    def cut_only(self) -> PlannedGraph:
        """The graph with its sections, which do not stream yet."""
        stages: list[StageNodes] = []
        sections = self.entry["sections"]
        for number, section in enumerate(sections):
            where = f"{self.where}.sections[{number}].stages"
            stages += self.codec.decode(tuple[StageNodes, ...], section["stages"], where)
        self._check_order(stages)
        rules = tuple(section["rule"] for section in sections if "rule" in section)
        groups = tuple(section["group"] for section in sections if "group" in section)
        partition = Partition(self.prepared, self.indexed, tuple(stages), (), rules, groups)
        lengths = tuple(len(section["stages"]) for section in sections)
        return PlannedGraph(self.graph, self.entry["budget"], partition, lengths)

    def _check_order(self, stages: Sequence[StageNodes]) -> None:
        """Every stage is there once, behind those that make what it reads."""
        makers = {value.name: i for i, stage in enumerate(stages) for value in stage.writes}
        problems = [
            Problem(f"stage {stage.name} reads %{value.name} before it is made", f"{self.where}.sections")
            for number, stage in enumerate(stages)
            for value in stage.needs
            if makers.get(value.name, -1) >= number
        ]
        if len(stages) != len(self.codec.stages):
            problems.append(Problem(f"{len(self.codec.stages)} stages are in sections {len(stages)} times", self.where))
        UsageError.raise_if(problems)

    def streaming(self, symbols: dict[str, Symbol]) -> PlannedGraph:
        """The graph with its sections in phases; `symbols` grows by those that its sections hand over in."""
        made = self.codec.decode(tuple[Symbol, ...], self.entry["symbols"], f"{self.where}.symbols")
        symbols.update((symbol.name, symbol) for symbol in made)
        sections = []
        for number, data in enumerate(self.entry["sections"]):
            where = f"{self.where}.sections[{number}]"
            decoded = {name: self.codec.decode(_section_kinds()[name], data[name], f"{where}.{name}") for name in data}
            sections.append(CutSection(graph=self.prepared, **decoded))
        cut = CutGraph(tuple(sections), made)
        keys = tuple(signature(section, symbols) for section in sections)
        planned = PlannedGraph(self.graph, self.entry["budget"], cut=cut, keys=keys)
        return replace(planned, lengths=tuple(len(section.stages) for section in sections))


def _section_kinds() -> dict[str, Any]:
    return {
        "rule": str,
        "stages": tuple[StageNodes, ...],
        "loads": dict[str, str],
        "gathers": dict[str, Gather],
        "stores": tuple[Store, ...],
        "phases": tuple[Phase, ...],
    }


def _decode_configuration(
    entry: Data, planned: PlannedGraph, position: int, codec: Codec, machine: Machine, where: str
) -> tuple[Signature, Configured]:
    assert planned.cut is not None
    section = planned.cut.sections[position]
    codec.phases = section.phases
    phases = codec.decode(list[PhaseLayout], entry["phases"], f"{where}.phases")
    buffers = codec.decode(list[Buffer], entry["buffers"], f"{where}.buffers")
    layout = Layout(section, phases, buffers)
    configured = Configured(layout, wire(layout, machine))
    if "sites" in entry:
        configured = replace(configured, placement=decode_sites(configured.wiring, entry["sites"], f"{where}.sites"))
    if "routes" in entry:
        routing = decode_routes(configured.wiring, entry["routes"], machine, f"{where}.routes")
        configured = replace(configured, routing=routing)
    return planned.keys[position], configured
