"""Fusion by rules (o1): which operators of a graph become one section.

Regions that the program marks come first, then rules by priority; of each, matches in the graph's order. Every group
can run as one section: nothing that it makes comes back to it through operators outside.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from backends.rdu.fuse.rules_file import PatternNode, Rule, Variant
from backends.rdu.fuse.stages import base_values, busy_readers
from ir.graph import Graph, Node, Value


@dataclass(frozen=True, slots=True)
class FusedGroup:
    """Operators that become one section, in the graph's order, and the label of what fused them; '' for one alone."""

    nodes: tuple[Node, ...]
    label: str = ""


def fuse_by_rules(graph: Graph, rules: Sequence[Rule]) -> list[FusedGroup]:
    """All operators of `graph` that are not free, in groups, each after those that it reads."""
    flow = _Flow(graph)
    partition = _Partition(flow)
    for region, members in _regions(flow).items():
        partition.fuse_all(members, f"region {region}")
    for rule in rules:
        if graph.kind in rule.sections:
            _apply(rule, flow, partition)
    return partition.groups()


def _regions(flow: _Flow) -> dict[str, list[int]]:
    """The operators of every region that the program marks."""
    found: dict[str, list[int]] = {}
    for index, node in enumerate(flow.nodes):
        if node.location.region:
            found.setdefault(node.location.region, []).append(index)
    return found


def _apply(rule: Rule, flow: _Flow, partition: _Partition) -> None:
    """Fuse every match of a rule."""
    variants = rule.variants()
    for anchor in range(len(flow.nodes)):
        for variant in variants:
            if variant.nodes[0].included and not partition.is_single(anchor):
                break
            if any(partition.fuse(members, rule.label) for members in _members(variant, anchor, flow, partition)):
                break


def _members(variant: Variant, anchor: int, flow: _Flow, partition: _Partition) -> Iterator[list[int]]:
    """What to fuse, for every way in which a pattern matches at `anchor`, the most first."""
    repeated = [pattern for pattern in variant.nodes if pattern.repeat]
    for match in _matches(variant, anchor, flow, partition):
        matched = [node for pattern, node in zip(variant.nodes, match) if pattern.included]
        matched += _casts_between(variant, match, flow, partition)
        if repeated:
            starts = {node: pattern.op_types for pattern, node in zip(variant.nodes, match) if pattern.repeat}
            yield _grown(matched, starts, flow, partition, lambda nodes: True)
            yield _grown(matched, starts, flow, partition, partition.can_fuse)
        yield matched


def _casts_between(variant: Variant, match: Sequence[int], flow: _Flow, partition: _Partition) -> list[int]:
    """The casts on the way from one fused operator of a match to another: precision presets put them there."""
    casts = [
        cast
        for source, end in variant.edges
        if variant.nodes[source].included and variant.nodes[end].included
        for cast in flow.links[match[source]][match[end]]
        if cast not in match and partition.is_single(cast)
    ]
    return list(dict.fromkeys(casts))


def _grown(
    matched: Sequence[int],
    starts: Mapping[int, frozenset[str]],
    flow: _Flow,
    partition: _Partition,
    allowed: Callable[[Sequence[int]], bool],
) -> list[int]:
    """The matched operators, and those of each start's types that are connected with it through one another."""
    grown = dict.fromkeys(matched)
    for start, op_types in starts.items():
        seen = {start, *grown}
        pending = [start]
        while pending:
            node = heapq.heappop(pending)
            if node not in grown and node != start:
                if not allowed([*grown, node]):
                    continue
                grown[node] = None
            for other in (*flow.sources[node], *flow.readers[node]):
                if other not in seen and partition.is_single(other) and flow.nodes[other].op.name in op_types:
                    seen.add(other)
                    heapq.heappush(pending, other)
    return list(grown)


def _matches(variant: Variant, anchor: int, flow: _Flow, partition: _Partition) -> Iterator[tuple[int, ...]]:
    """For every way in which a pattern matches, the operator for each of its nodes; the first is at `anchor`.

    It finds what networkx's subgraph matching finds, but only among neighbours of the anchor: on the graph of a deep
    model that is forty times as fast.
    """

    def fits(pattern: PatternNode, node: int) -> bool:
        is_free = partition.is_single(node) or not pattern.included
        return flow.nodes[node].op.name in pattern.op_types and is_free

    def candidates(position: int, chosen: dict[int, int]) -> Iterable[int]:
        for source, end in variant.edges:
            if end == position and source in chosen:
                return flow.links[chosen[source]]
            if source == position and end in chosen:
                return flow.origins[chosen[end]]
        return ()

    def agrees(position: int, node: int, chosen: dict[int, int]) -> bool:
        for source, end in variant.edges:
            if source == position and end in chosen and chosen[end] not in flow.links[node]:
                return False
            if end == position and source in chosen and node not in flow.links[chosen[source]]:
                return False
        return True

    def extend(chosen: dict[int, int]) -> Iterator[tuple[int, ...]]:
        if len(chosen) == len(variant.nodes):
            yield tuple(chosen[position] for position in range(len(variant.nodes)))
            return
        position = _next(variant, chosen)
        for node in candidates(position, chosen):
            if node not in chosen.values() and fits(variant.nodes[position], node) and agrees(position, node, chosen):
                yield from extend({**chosen, position: node})

    if fits(variant.nodes[0], anchor):
        yield from extend({0: anchor})


def _next(variant: Variant, chosen: dict[int, int]) -> int:
    """The first node of a pattern that is connected with one already matched."""
    linked = [end for edge in variant.edges if any(end in chosen for end in edge) for end in edge if end not in chosen]
    return min(linked)


class _Flow:
    """The operators of a graph that are not free, by number, and who reads whom, looking through views."""

    def __init__(self, graph: Graph) -> None:
        busy = [node for node in graph.nodes if not node.op.is_free]
        number = {id(node): index for index, node in enumerate(busy)}
        base = base_values(graph)
        self.readers: list[list[int]] = [[] for _ in busy]
        self.sources: list[list[int]] = [[] for _ in busy]
        for index, node in enumerate(busy):
            for origin in dict.fromkeys(base[operand.name] for operand in node.operands):
                producer = graph.producers.get(origin.name) if origin is not None else None
                if producer is not None:
                    self.sources[index].append(number[id(producer)])
                    self.readers[number[id(producer)]].append(index)
        self.nodes = busy
        self.links, self.origins = self._links()
        self.after = nx.DiGraph()
        """From each operator to those that must not run before it: its readers, and what overwrites a symbol that it
        reads."""
        self.after.add_nodes_from(range(len(busy)))
        self.after.add_edges_from((index, reader) for index, found in enumerate(self.readers) for reader in found)
        for reader, writer in _overwrites(graph, base, number):
            if not nx.has_path(self.after, writer, reader):
                self.after.add_edge(reader, writer)

    def _links(self) -> tuple[list[dict[int, tuple[int, ...]]], list[list[int]]]:
        """For each operator, who reads it directly or through casts, with those casts; and the other way round."""
        links: list[dict[int, tuple[int, ...]]] = [{} for _ in self.nodes]
        origins: list[list[int]] = [[] for _ in self.nodes]
        for index in range(len(self.nodes) - 1, -1, -1):
            links[index] = dict.fromkeys(self.readers[index], ())
            for cast in self.readers[index]:
                if self.nodes[cast].op.name == "cast":
                    for reader, path in links[cast].items():
                        links[index].setdefault(reader, (cast, *path))
        for index, found in enumerate(links):
            for reader in found:
                origins[reader].append(index)
        return links, origins


def _overwrites(graph: Graph, base: dict[str, Value | None], number: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Pairs of an operator that reads a symbol, and the operator whose result is then stored there."""
    inputs = {value.name: value for value in graph.inputs}
    for output in graph.outputs:
        origin = base[output.value.name]
        writer = graph.producers.get(origin.name) if origin is not None else None
        if writer is None or output.symbol not in inputs:
            continue
        for node in busy_readers(graph, inputs[output.symbol]):
            if node is not writer:
                yield number[id(node)], number[id(writer)]


class _Partition:
    """Operators in groups; the graph of groups stays without circles."""

    def __init__(self, flow: _Flow) -> None:
        self.flow = flow
        self.waits = flow.after.copy()
        """Which groups have to wait for which, each by its first operator."""
        self.members = {index: [index] for index in flow.after}
        self.labels: dict[int, str] = {}

    def is_single(self, node: int) -> bool:
        """Whether no group has an operator yet."""
        return node in self.members and node not in self.labels

    def fuse(self, nodes: Sequence[int], label: str) -> bool:
        """Make a group of single operators, unless it would have to wait for itself; says whether it did."""
        if len(nodes) < 2 or not self.can_fuse(nodes):
            return False
        self._join(nodes, label)
        return True

    def _join(self, nodes: Sequence[int], label: str) -> None:
        first, *others = sorted(nodes)
        for node in others:
            nx.contracted_nodes(self.waits, first, node, self_loops=False, copy=False)
            del self.members[node]
        self.members[first] = [first, *others]
        self.labels[first] = label

    def fuse_all(self, nodes: Sequence[int], label: str) -> None:
        """Make one group of a region, or as few as can be where something outside lies between its operators.

        No rule adds to a region, not even where it is a single operator.
        """
        parts = []
        rest = list(nodes)
        while rest:
            part = rest if self.can_fuse(rest) else self._largest(rest)
            parts.append(part)
            rest = [node for node in rest if node not in part]
        for number, part in enumerate(parts, start=1):
            of = f", part {number} of {len(parts)}" if len(parts) > 1 else ""
            self._join(part, label + of)

    def _largest(self, nodes: Sequence[int]) -> list[int]:
        """The first of `nodes`, and of the others in order each that can join."""
        kept: list[int] = list(nodes[:1])
        for node in nodes[1:]:
            if self.can_fuse([*kept, node]):
                kept.append(node)
        return kept

    def can_fuse(self, nodes: Sequence[int]) -> bool:
        """Whether no path leaves single operators and comes back to them: only then can they run at one time."""
        inside = set(nodes)
        outside = {after for node in nodes for after in self.waits.successors(node)} - inside
        return all(inside.isdisjoint(layer) for layer in nx.bfs_layers(self.waits, outside))

    def groups(self) -> list[FusedGroup]:
        """All groups, each after those that must not run later, otherwise in the graph's order."""
        nodes = self.flow.nodes
        return [
            FusedGroup(tuple(nodes[index] for index in self.members[home]), self.labels.get(home, ""))
            for home in nx.lexicographical_topological_sort(self.waits)
        ]
