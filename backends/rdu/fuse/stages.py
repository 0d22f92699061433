"""Stages: which operators run together between two buffers.

A product takes the elementwise operators behind it into the tail of its PCUs; elementwise operators chain in the SIMD
pipeline, with at most one reducing operator at the end of a chain. Free operators belong to whoever reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from backends.rdu.fuse.indexed import Gather
from ir.graph import Graph, Node, Value
from ir.op import CostClass

MAX_CHAIN_SLOTS = 32
"""Pipeline slots one SIMD chain may fill: beyond, a buffer between two stages is cheaper than a longer chain."""

SMALL_ELEMENTS = 1 << 12
"""Stages of SIMD work on no more elements than these take one PCU about as long as the barrier of a phase."""


@dataclass(frozen=True, slots=True)
class StageNodes:
    """The nodes of one stage in topological order, free operators included.

    reads: values from outside, symbols and results of other stages; writes: results that others or outputs need;
    gathers: those of `reads` that are fetched by index.
    """

    nodes: tuple[Node, ...]
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    gathers: tuple[Gather, ...] = ()

    @property
    def needs(self) -> tuple[Value, ...]:
        """All that must have been made before it can run: what it reads, and the indices by which that is fetched."""
        return (*self.reads, *(gather.index for gather in self.gathers))

    @property
    def busy(self) -> list[Node]:
        """The nodes that are not free."""
        return [node for node in self.nodes if not node.op.is_free]

    @property
    def name(self) -> str:
        """The names of the operators that do something."""
        return "+".join(node.op.name for node in self.busy)


@dataclass(slots=True)
class _Group:
    """A stage under construction, closed once another stage has read from it; `last` is where its last node stands.

    One that is `early` is small, and reads nothing but symbols and what others like it make of them, such as a batch
    norm's scale: it can run before everything else, wherever it stands.
    """

    nodes: list[Node] = field(default_factory=list)
    open: bool = True
    last: int = -1
    early: bool = True

    def add(self, node: Node, number: int, sources: Sequence[_Group]) -> None:
        """Append a node, which stands there in the graph and reads these groups."""
        self.nodes.append(node)
        self.last = number
        small = all(value.type.numel <= SMALL_ELEMENTS for value in (*node.operands, *node.results))
        self.early = small and not self.is_product and all(source.early for source in (self, *sources))

    @property
    def is_product(self) -> bool:
        """Whether it begins with a product, which whatever follows must not hold up."""
        return self.nodes[0].op.cost.kind is CostClass.SYSTOLIC


def base_values(graph: Graph) -> dict[str, Value | None]:
    """For every value, the symbol or busy result that it is a view of; None for a constant."""
    base: dict[str, Value | None] = {value.name: value for value in graph.inputs}
    for node in graph.nodes:
        for result in node.results:
            if not node.op.is_free:
                base[result.name] = result
            else:
                base[result.name] = base[node.operands[0].name] if node.operands else None
    return base


def form_stages(
    graph: Graph,
    *,
    fuse: bool,
    nodes: Sequence[Node] | None = None,
    gathers: Mapping[str, Gather] | None = None,
    apart: Collection[str] = (),
) -> list[StageNodes]:
    """Partition the busy nodes of `graph`, or those in `nodes`, into stages, in an order in which each reads only
    earlier ones.

    With `fuse` off every busy node is a stage of its own. `nodes` must be able to run at one time: nothing they make
    comes back to them through others. What `gathers` names is fetched by index, and no stage makes it; what `apart`
    names is made by stages of one operator.
    """
    gathers = gathers or {}
    base = base_values(graph)
    only = _only_for_updates(graph)
    group_of: dict[str, _Group] = {}
    groups: list[_Group] = []
    for number, node in enumerate(graph.nodes if nodes is None else nodes):
        if node.op.is_free or node.results[0].name in gathers:
            continue
        for guide in _guides(node, base, group_of, gathers):
            guide.open = False
        sources = _source_groups(node, base, group_of)
        alone = node.results[0].name in apart
        home = _fused_home(node, sources) if fuse and not alone else None
        if home is None:
            home = _Group()
            groups.append(home)
        for source in sources:
            if source is not home and not _absorb(source, home, group_of, groups):
                source.open = False
        home.add(node, number, sources)
        home.open = home.open and not alone and not (home.is_product and node.results[0].name in only)
        group_of.update((result.name, home) for result in node.results)
    order = _topological([group for group in groups if group.nodes], group_of, base, gathers)
    position = {id(node): index for index, node in enumerate(graph.nodes)}
    stored = {origin.name for output in graph.outputs if (origin := base[output.value.name]) is not None}
    return [
        _finish(graph, sorted(group.nodes, key=lambda node: position[id(node)]), stored, gathers) for group in order
    ]


def _only_for_updates(graph: Graph) -> set[str]:
    """The values that serve nothing but the update in place of symbols that the graph reads, such as the gradients of
    weights beside an optimizer."""
    inputs = {value.name for value in graph.inputs}
    other = {output.value.name for output in graph.outputs if output.symbol not in inputs}
    found: set[str] = set()
    for node in reversed(graph.nodes):
        for result in node.results:
            readers = graph.consumers[result.name]
            if result.name not in other and all(r.name in found for reader in readers for r in reader.results):
                found.add(result.name)
    return found


def _guides(
    node: Node, base: dict[str, Value | None], group_of: dict[str, _Group], gathers: Mapping[str, Gather]
) -> list[_Group]:
    """The groups that make the indices by which operands of a node are fetched."""
    origins = [base[operand.name] for operand in node.operands]
    indices = [gathers[origin.name].index.name for origin in origins if origin is not None and origin.name in gathers]
    return [group_of[index] for index in indices if index in group_of]


def _source_groups(node: Node, base: dict[str, Value | None], group_of: dict[str, _Group]) -> list[_Group]:
    """The groups that `node` reads, each once."""
    sources: dict[int, _Group] = {}
    for operand in node.operands:
        origin = base[operand.name]
        if origin is not None and origin.name in group_of:
            group = group_of[origin.name]
            sources[id(group)] = group
    return list(sources.values())


def _fused_home(node: Node, sources: list[_Group]) -> _Group | None:
    """The open group that `node` may join; a product only if it makes the last of the operands, but for those that can
    be made early, so that it never waits.

    Joining an open group cannot make a cycle: nobody else has read from it yet, so no other operand of the node can
    depend on it. For the same reason open groups that the node reads may be merged.
    """
    for group in sources:
        if (
            group.open
            and _may_join(node, group)
            and not (group.is_product and any(group.last < other.last and not other.early for other in sources))
        ):
            return group
    return None


def _may_join(node: Node, group: _Group) -> bool:
    """Whether `node` continues the chain of `group`: same elements, a product only first, a reduction only last."""
    last = group.nodes[-1]
    direct = any(operand in last.results or _made_in(operand, group) for operand in node.operands)
    if not direct or node.op.cost.kind not in (CostClass.SIMD, CostClass.REDUCE) or node.op.cost.passes > 1:
        return False
    if last.op.cost.kind is CostClass.GATHER or _ends_chain(last):
        return False
    elements = max(value.type.numel for value in last.results)
    if max(value.type.numel for value in (*node.operands, *node.results)) != elements:
        return False
    slots = sum(other.op.cost.operations for other in group.nodes if other.op.cost.kind is not CostClass.SYSTOLIC)
    if group.is_product and node.op.cost.kind is CostClass.REDUCE:
        return False
    return slots + node.op.cost.operations <= MAX_CHAIN_SLOTS


def _made_in(value: Value, group: _Group) -> bool:
    return any(value in node.results for node in group.nodes)


def _ends_chain(node: Node) -> bool:
    """Whether nothing may follow: a reduction delivers fewer elements than the chain carries."""
    return node.op.cost.kind is CostClass.REDUCE and node.op.cost.passes == 1


def _absorb(source: _Group, home: _Group, group_of: dict[str, _Group], groups: list[_Group]) -> bool:
    """Merge an open SIMD group that feeds the same node into `home`; says whether it did."""
    both = [*home.nodes, *source.nodes]
    simd = all(node.op.cost.kind is CostClass.SIMD for node in both)
    if not (source.open and home.open and home.nodes and simd):
        return False
    sizes = {max(value.type.numel for value in node.results) for node in both}
    if len(sizes) != 1 or sum(node.op.cost.operations for node in both) > MAX_CHAIN_SLOTS:
        return False
    home.nodes[:0] = source.nodes
    for node in source.nodes:
        group_of.update((result.name, home) for result in node.results)
    source.nodes = []
    source.open = False
    return True


def _topological(
    groups: list[_Group],
    group_of: dict[str, _Group],
    base: dict[str, Value | None],
    gathers: Mapping[str, Gather],
) -> list[_Group]:
    """Groups so that each comes after those it reads, otherwise in the order of their last nodes in the graph.

    So the gradient of a weight stays beside that of its activation: both read the same.
    """
    numbers = {id(group): number for number, group in enumerate(groups)}
    waits = nx.DiGraph()
    waits.add_nodes_from(range(len(groups)))
    for number, group in enumerate(groups):
        for node in group.nodes:
            sources = (*_source_groups(node, base, group_of), *_guides(node, base, group_of, gathers))
            waits.add_edges_from((numbers[id(source)], number) for source in sources if source is not group)
    order = nx.lexicographical_topological_sort(waits, key=lambda number: groups[number].last)
    return [groups[number] for number in order]


def _finish(graph: Graph, busy: list[Node], stored: set[str], gathers: Mapping[str, Gather]) -> StageNodes:
    """The stage of these busy nodes, with the free operators that lead to their operands; outputs are views of what is
    `stored`."""
    made = {result.name for node in busy for result in node.results}
    nodes: dict[int, Node] = {}
    reads: dict[str, Value] = {}

    def prepare(value: Value) -> None:
        producer = graph.producers.get(value.name)
        if value.name in made:
            return
        if producer is None or not producer.op.is_free:
            reads[value.name] = value
            return
        for operand in producer.operands:
            prepare(operand)
        nodes[id(producer)] = producer

    for node in busy:
        for operand in node.operands:
            prepare(operand)
        nodes[id(node)] = node
    writes = [result for node in busy for result in node.results if _needed_outside(graph, result, made, stored)]
    fetched = tuple(gathers[name] for name in reads if name in gathers)
    return StageNodes(tuple(nodes.values()), tuple(reads.values()), tuple(writes), fetched)


def _needed_outside(graph: Graph, value: Value, made: set[str], stored: set[str]) -> bool:
    """Whether another stage or an output reads `value`, directly or through free operators."""
    if value.name in stored:
        return True
    return any(not all(result.name in made for result in node.results) for node in busy_readers(graph, value))


def busy_readers(graph: Graph, value: Value) -> Iterable[Node]:
    """The busy nodes that read `value`, directly or through free operators."""
    for node in graph.consumers[value.name]:
        if not node.op.is_free:
            yield node
        else:
            for result in node.results:
                yield from busy_readers(graph, result)
