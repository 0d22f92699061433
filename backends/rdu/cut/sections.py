"""Sections of a graph: stages and nests as the cut chose them, and how values cross from one section to another.

Sections run one after another and hand tensors over in device memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from backends.rdu.cut.cut_section import CutGraph, CutSection, Store, output_store
from backends.rdu.cut.search import WINDOW, Cutter
from backends.rdu.cut.ways import Section
from backends.rdu.cut.weigh import Weigher
from backends.rdu.fuse.groups import fuse_by_rules
from backends.rdu.fuse.indexed import Indexed, Update, by_index
from backends.rdu.fuse.repeat import with_repeats
from backends.rdu.fuse.rules_file import Rule
from backends.rdu.fuse.stages import StageNodes, form_stages
from backends.rdu.fuse.views import with_views_made
from backends.rdu.microbatches import Microbatches
from backends.rdu.stream.nests import Phase
from ir.collector import collector_paused
from ir.errors import InfeasibleError, Problem
from ir.graph import Graph, Node, Output, Symbol, SymbolKind, Value
from ir.ops.elementwise import Cast
from pef.exchange import ONE, Replicas
from pef.machine import Machine


@dataclass(frozen=True, slots=True)
class Partition:
    """What the cut decided: the stages of a prepared graph in order, and how many of them each section has, with the
    phases they stream in. At o1, `rules` say what made each section, and `groups` number what one rule fused: a group
    that does not fit is several sections."""

    graph: Graph
    indexed: Indexed
    stages: tuple[StageNodes, ...]
    sections: tuple[Section, ...]
    rules: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()


def partition_graph(
    graph: Graph,
    machine: Machine,
    *,
    fuse: bool,
    budget: float,
    rules: Sequence[Rule] | None = None,
    microbatches: Microbatches | None = None,
    replicas: Replicas = ONE,
) -> Partition:
    """Which stages form a section of at most `budget` (0 to 1) of the machine's units, and how they stream.

    Without `fuse`, a section is one stage, but for what `rules` fuse. `replicas` of them are taken to exchange their
    gradients.
    """
    graph, indexed = prepare_graph(graph, machine, fuse=fuse)
    if rules is not None:
        return _partition_by_rules(graph, indexed, machine, budget, rules, microbatches)
    if not fuse:
        stages = form_stages(graph, fuse=False, gathers=indexed.gathers)
        single = Cutter(graph, stages, machine, budget, microbatches, 1, indexed)
        return Partition(graph, indexed, tuple(stages), tuple(single.best()))

    def cutter_of(stages: Sequence[StageNodes]) -> Cutter:
        weigh = Weigher(graph, stages, indexed, machine, replicas)
        return Cutter(graph, stages, machine, budget, microbatches, WINDOW, indexed, weigh)

    with collector_paused():
        stages, sections = _cut(graph, None, indexed, cutter_of, Cutter.best)
    return Partition(graph, indexed, tuple(stages), tuple(sections))


def prepare_graph(graph: Graph, machine: Machine, *, fuse: bool) -> tuple[Graph, Indexed]:
    """The graph that sections are cut from, and what of it goes by index. With `fuse`, each reader computes
    again what is cheap, and small views that would keep it from streaming are made."""
    graph = _with_constants_made(graph)
    if fuse:
        graph = with_repeats(graph)
        graph = with_views_made(graph)
    return by_index(graph, machine)


def stream_partition(
    partition: Partition,
    lengths: Sequence[int],
    machine: Machine,
    *,
    fuse: bool,
    budget: float,
    microbatches: Microbatches | None = None,
    replicas: Replicas = ONE,
) -> Partition:
    """The partition into sections of so many stages each, streamed as is fastest.

    Raises InfeasibleError where the stages of one do not fit the machine together.
    """
    ends = list(itertools.accumulate(lengths, initial=0))
    groups = partition.groups or (0,) * len(lengths)
    cutters: dict[int, tuple[int, Cutter]] = {}
    for group, members in itertools.groupby(range(len(lengths)), key=lambda section: groups[section]):
        sections = list(members)
        first, last = ends[sections[0]], ends[sections[-1] + 1]
        own, window = partition.stages[first:last], WINDOW if fuse or partition.rules else 1
        weigh = None
        if fuse and not partition.rules:
            weigh = Weigher(partition.graph, own, partition.indexed, machine, replicas)
        cutter = Cutter(partition.graph, own, machine, budget, microbatches, window, partition.indexed, weigh)
        cutters[group] = (first, cutter)
    found = []
    for group, (start, end) in zip(groups, itertools.pairwise(ends)):
        first, cutter = cutters[group]
        section = next((s for s in cutter.sections(start - first) if s.length == end - start), None)
        if section is None:
            names = ", ".join(stage.name for stage in partition.stages[start:end])
            hint = "cut it into several sections"
            raise InfeasibleError(Problem(f"these stages do not fit one section: {names}", hint=hint))
        found.append(cutter.weighed(section, start - first))
    return replace(partition, sections=tuple(found))


def _partition_by_rules(
    graph: Graph,
    indexed: Indexed,
    machine: Machine,
    budget: float,
    rules: Sequence[Rule],
    microbatches: Microbatches | None,
) -> Partition:
    """A section for every group that the rules fuse; of a group that does not fit, those that are fastest."""
    stages: list[StageNodes] = []
    labels: list[str] = []
    sections: list[Section] = []
    groups: list[int] = []

    def cutter_of(stages: Sequence[StageNodes]) -> Cutter:
        return Cutter(graph, stages, machine, budget, microbatches, indexed=indexed)

    for number, group in enumerate(fuse_by_rules(graph, rules)):
        own, parts = _cut(graph, group.nodes, indexed, cutter_of, _best_parts)
        if not own:
            continue
        count = len(parts)
        labels += [f"{group.label}, cut {i} of {count}" if count > 1 else group.label for i in range(1, count + 1)]
        sections += parts
        stages += own
        groups += [number] * count
    return Partition(graph, indexed, tuple(stages), tuple(sections), tuple(labels), tuple(groups))


def _cut(
    graph: Graph,
    nodes: Sequence[Node] | None,
    indexed: Indexed,
    cutter_of: Callable[[Sequence[StageNodes]], Cutter],
    best: Callable[[Cutter], list[Section]],
) -> tuple[list[StageNodes], list[Section]]:
    """The stages and sections of a graph, or of some of its nodes.

    Operators of a stage that does not fit even alone are stages of their own: a product with something behind it
    cannot be summed over a loop.
    """
    apart: set[str] = set()
    while True:
        stages = form_stages(graph, fuse=True, nodes=nodes, gathers=indexed.gathers, apart=apart)
        sections = best(cutter_of(stages)) if stages else []
        large = set(_too_large(stages, sections)) - apart
        if not large:
            return stages, sections
        apart |= large


def _too_large(stages: Sequence[StageNodes], sections: Sequence[Section]) -> Iterator[str]:
    """What the operators make that share a stage which does not fit."""
    position = 0
    for section in sections:
        busy = stages[position].busy
        if section.excess and section.length == 1 and len(busy) > 1:
            yield from (result.name for node in busy for result in node.results)
        position += section.length


def _best_parts(cutter: Cutter) -> list[Section]:
    """The sections of a group: a single one if it fits as a whole."""
    whole = [section for section in cutter.sections(0) if section.length == len(cutter.stages)]
    return whole or cutter.best()


def materialise(partition: Partition) -> CutGraph:
    """The sections as cut, with the values that cross them stored in symbols and loaded again.

    A value that an output stores as it is, is loaded from that symbol; any other gets a symbol of its own.
    """
    graph, indexed, stages, rules = partition.graph, partition.indexed, partition.stages, partition.rules
    phases = [section.phases for section in partition.sections] or [()]
    ends = list(itertools.accumulate((section.length for section in partition.sections), initial=0))
    ranges = list(itertools.pairwise(ends)) or [(0, 0)]
    groups = [tuple(stages[first:last]) for first, last in ranges]
    home = {value.name: index for index, group in enumerate(groups) for stage in group for value in stage.writes}
    stores: list[list[Store]] = [[] for _ in ranges]
    stored_as: dict[str, str] = {value.name: value.name for value in graph.inputs}
    stored_as |= {gather.value.name: gather.table.name for gather in indexed.gathers.values()}
    for output in graph.outputs:
        store = output_store(graph, output)
        update = indexed.updates.get(output.symbol)
        if update is not None:
            store = replace(store, update=update)
            at = _update_home(update, store, indexed, groups, home)
            stores[at].append(store)
            if all(
                reader > at for reader in _readers(update.updated, groups) if reader != home.get(update.updated.name)
            ):
                stored_as[update.updated.name] = output.symbol
                _drop_if_unread(update.updated, groups, phases, home)
            continue
        updated = any(value.name == output.symbol for value in graph.inputs)
        read_last = max(_readers_of_symbol(output.symbol, indexed, groups), default=0) if updated else 0
        stores[max(home.get(store.base.name, 0), read_last)].append(store)
        if not store.views and not updated:
            stored_as.setdefault(store.base.name, output.symbol)
    symbols = []
    for index in range(len(groups)):
        for value in _arriving(groups[index], stores[index], indexed, home, index):
            if value.name not in stored_as:
                name = f"{graph.kind.value.lower()}.{value.name}"
                symbols.append(Symbol(name, value.type, SymbolKind.ACTIVATION))
                stored_as[value.name] = name
                stores[home[value.name]].append(Store(value, (), value, name))
    sections = []
    for index, own in enumerate(groups):
        if not own and not stores[index] and ranges[index] != (0, 0):
            continue
        outside = {value.name for value in _needed(own, stores[index], indexed) if home.get(value.name) != index}
        loads = {name: stored_as[name] for name in sorted(outside)}
        rule = rules[index] if rules else ""
        gathers = {name: indexed.gathers[name] for name in loads if name in indexed.gathers}
        sections.append(CutSection(graph, own, loads, tuple(stores[index]), phases[index], rule, gathers))
    _refuse_stale_reads(graph, sections)
    return CutGraph(tuple(sections), tuple(symbols))


def _update_home(
    update: Update,
    store: Store,
    indexed: Indexed,
    groups: Sequence[tuple[StageNodes, ...]],
    home: Mapping[str, int],
) -> int:
    """The section that stores an update: the first that has all it needs, and reads the symbol last."""
    needed = [home.get(value.name, 0) for value in (*store.needs, update.updated)]
    return max(*needed, *_readers_of_symbol(update.symbol.name, indexed, groups))


def _readers(value: Value, groups: Sequence[tuple[StageNodes, ...]]) -> list[int]:
    """The sections whose stages read a value."""
    return [index for index, group in enumerate(groups) for stage in group if value in stage.reads]


def _readers_of_symbol(symbol: str, indexed: Indexed, groups: Sequence[tuple[StageNodes, ...]]) -> list[int]:
    """The sections whose stages read a symbol of the graph, or what is fetched from it by index."""
    names = {symbol, *(name for name, gather in indexed.gathers.items() if gather.table.name == symbol)}
    return [i for i, group in enumerate(groups) for stage in group if any(v.name in names for v in stage.reads)]


def _drop_if_unread(
    value: Value, groups: list[tuple[StageNodes, ...]], phases: list[tuple[Phase, ...]], home: dict[str, int]
) -> None:
    """Leave out the stage that makes a value, where nobody reads it on chip and it makes nothing else."""
    index = home.get(value.name)
    if index is None or index in _readers(value, groups):
        return
    kept = tuple(stage for stage in groups[index] if stage.writes != (value,))
    if len(kept) < len(groups[index]):
        groups[index] = kept
        inner = [replace(p, stages=tuple(s for s in p.stages if s.stage.writes != (value,))) for p in phases[index]]
        phases[index] = tuple(phase for phase in inner if phase.stages)
        del home[value.name]


def _needed(stages: Sequence[StageNodes], stores: Sequence[Store], indexed: Indexed) -> Iterator[Value]:
    """What a section reads, or stores although none of its stages reads it."""
    for stage in stages:
        yield from stage.needs
    for store in stores:
        yield from store.needs
        if store.base.name in indexed.gathers:
            yield indexed.gathers[store.base.name].index


def _arriving(
    stages: Sequence[StageNodes], stores: Sequence[Store], indexed: Indexed, home: Mapping[str, int], index: int
) -> list[Value]:
    """The values that a section needs from earlier ones of the same graph, each once."""
    found = {value.name: value for value in _needed(stages, stores, indexed) if home.get(value.name, index) != index}
    return list(found.values())


def _with_constants_made(graph: Graph) -> Graph:
    """The graph with a stage of its own for every output that is a view of an immediate: no memory holds it yet."""
    nodes, outputs = list(graph.nodes), []
    for output in graph.outputs:
        store = output_store(graph, output)
        producer = graph.producers.get(store.base.name)
        if producer is not None and producer.op.is_free:
            made = Value(f"{graph.kind.value.lower()}.{output.symbol}.made", output.value.type)
            nodes.append(Node(Cast(made.type.dtype), (output.value,), (made,), producer.location))
            output = Output(output.symbol, made)
        outputs.append(output)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(outputs))


def _refuse_stale_reads(graph: Graph, sections: Sequence[CutSection]) -> None:
    """A symbol updated in place must not be read again by a later section, which would see the new value."""
    updated: set[str] = set()
    for section in sections:
        read = {section.gathers[name].table.name if name in section.gathers else name for name in section.loads}
        stale = updated.intersection(read).intersection(value.name for value in graph.inputs)
        if stale:
            hint = "give the machine more units, so that the update and its readers fit one section"
            raise InfeasibleError(Problem(f"{', '.join(sorted(stale))} would be read after its update", hint=hint))
        updated |= {store.symbol for store in section.stores}
