"""Sections of a graph: stages and nests as the cut chose them, and how values cross from one section to another.

Sections run one after another and hand tensors over in device memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backends.rdu.cut import WINDOW, Cutter, Section
from backends.rdu.fusion import fuse_by_rules
from backends.rdu.fusion_rules import Rule
from backends.rdu.microbatches import Microbatches
from backends.rdu.nests import Phase
from backends.rdu.stages import StageNodes, form_stages
from ir.errors import InfeasibleError, Problem
from ir.graph import Graph, Node, Output, Symbol, SymbolKind, Value
from ir.ops.elementwise import Cast
from pef.machine import Machine


@dataclass(frozen=True, slots=True)
class Store:
    """A value that a section leaves in memory: the busy result `base`, through free operators, into `symbol`."""

    base: Value
    views: tuple[Node, ...]
    value: Value
    symbol: str


@dataclass(frozen=True, slots=True)
class CutSection:
    """Stages on the fabric at one time, the symbol each value from outside is loaded from, what is stored, and the
    phases in which the stages stream.

    `rule` says what fused them at o1: a rule, or a region of the program.
    """

    graph: Graph
    stages: tuple[StageNodes, ...]
    loads: dict[str, str]
    stores: tuple[Store, ...]
    phases: tuple[Phase, ...]
    rule: str = ""


@dataclass(frozen=True, slots=True)
class CutGraph:
    """The sections of one graph in running order, and the symbols that carry values between them."""

    sections: tuple[CutSection, ...]
    symbols: tuple[Symbol, ...]


def cut_graph(
    graph: Graph,
    machine: Machine,
    *,
    fuse: bool,
    budget: float,
    rules: Sequence[Rule] | None = None,
    microbatches: Microbatches | None = None,
) -> CutGraph:
    """Cut a graph into sections of at most `budget` (0 to 1) of the machine's units; one stage each without `fuse`,
    but for what `rules` fuse."""
    graph = _with_constants_made(graph)
    if rules is not None:
        return _cut_by_rules(graph, machine, budget, rules, microbatches)
    stages = form_stages(graph, fuse=fuse)
    cutter = Cutter(graph, stages, machine, budget, microbatches, window=WINDOW if fuse else 1)
    return _materialise(graph, stages, cutter.best())


def _cut_by_rules(
    graph: Graph, machine: Machine, budget: float, rules: Sequence[Rule], microbatches: Microbatches | None
) -> CutGraph:
    """A section for every group that the rules fuse; of a group that does not fit, those that are fastest."""
    stages: list[StageNodes] = []
    labels: list[str] = []
    sections: list[Section] = []
    for group in fuse_by_rules(graph, rules):
        own = form_stages(graph, fuse=True, nodes=group.nodes)
        parts = _best_parts(Cutter(graph, own, machine, budget, microbatches))
        count = len(parts)
        labels += [f"{group.label}, cut {i} of {count}" if count > 1 else group.label for i in range(1, count + 1)]
        sections += parts
        stages += own
    return _materialise(graph, stages, sections, labels)


def _best_parts(cutter: Cutter) -> list[Section]:
    """The sections of a group: a single one if it fits as a whole."""
    whole = [section for section in cutter.sections(0) if section.length == len(cutter.stages)]
    return whole or cutter.best()


def _materialise(
    graph: Graph, stages: Sequence[StageNodes], cut: Sequence[Section], rules: Sequence[str] = ()
) -> CutGraph:
    """The sections as cut, with the values that cross them stored in symbols and loaded again.

    `rules` say what made each. A value that an output stores as it is, is loaded from that symbol; any other gets a
    symbol of its own.
    """
    phases = [section.phases for section in cut] or [()]
    ends = list(itertools.accumulate((section.length for section in cut), initial=0))
    ranges = list(itertools.pairwise(ends)) or [(0, 0)]
    home = {
        value.name: index
        for index, (first, last) in enumerate(ranges)
        for stage in stages[first:last]
        for value in stage.writes
    }
    stores: list[list[Store]] = [[] for _ in ranges]
    stored_as: dict[str, str] = {value.name: value.name for value in graph.inputs}
    for output in graph.outputs:
        store = _output_store(graph, output)
        section = home.get(store.base.name, 0)
        stores[section].append(store)
        updated = any(value.name == output.symbol for value in graph.inputs)
        if not store.views and not updated:
            stored_as.setdefault(store.base.name, output.symbol)
    symbols = []
    for index, (first, last) in enumerate(ranges):
        for value in _arriving(stages[first:last], home, index):
            if value.name not in stored_as:
                name = f"{graph.kind.value.lower()}.{value.name}"
                symbols.append(Symbol(name, value.type, SymbolKind.ACTIVATION))
                stored_as[value.name] = name
                stores[home[value.name]].append(Store(value, (), value, name))
    sections = []
    for index, (first, last) in enumerate(ranges):
        own = tuple(stages[first:last])
        outside = {v.name for stage in own for v in stage.reads if home.get(v.name) != index}
        outside |= {store.base.name for store in stores[index] if store.base.name not in home}
        loads = {name: stored_as[name] for name in sorted(outside)}
        rule = rules[index] if rules else ""
        sections.append(CutSection(graph, own, loads, tuple(stores[index]), phases[index], rule))
    _refuse_stale_reads(graph, sections)
    return CutGraph(tuple(sections), tuple(symbols))


def _arriving(stages: Sequence[StageNodes], home: dict[str, int], index: int) -> list[Value]:
    """The values that these stages read from earlier sections of the same graph, each once."""
    found = {value.name: value for stage in stages for value in stage.reads if home.get(value.name, index) != index}
    return list(found.values())


def _with_constants_made(graph: Graph) -> Graph:
    """The graph with a stage of its own for every output that is a view of an immediate: no memory holds it yet."""
    nodes, outputs = list(graph.nodes), []
    for output in graph.outputs:
        store = _output_store(graph, output)
        producer = graph.producers.get(store.base.name)
        if producer is not None and producer.op.is_free:
            made = Value(f"{graph.kind.value.lower()}.{output.symbol}.made", output.value.type)
            nodes.append(Node(Cast(made.type.dtype), (output.value,), (made,), producer.location))
            output = Output(output.symbol, made)
        outputs.append(output)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(outputs))


def _output_store(graph: Graph, output: Output) -> Store:
    """The store of one output: back through free operators to what it is a view of, an immediate at the furthest."""
    views: list[Node] = []
    value = output.value
    while (producer := graph.producers.get(value.name)) is not None and producer.op.is_free and producer.operands:
        views.append(producer)
        value = producer.operands[0]
    return Store(value, tuple(reversed(views)), output.value, output.symbol)


def _refuse_stale_reads(graph: Graph, sections: Sequence[CutSection]) -> None:
    """A symbol updated in place must not be read again by a later section, which would see the new value."""
    updated: set[str] = set()
    for section in sections:
        stale = updated.intersection(section.loads.values()).intersection(value.name for value in graph.inputs)
        if stale:
            hint = "give the machine more units, so that the update and its readers fit one section"
            raise InfeasibleError(Problem(f"{', '.join(sorted(stale))} would be read after its update", hint=hint))
        updated |= {store.symbol for store in section.stores}
