"""Views that become tensors: small ones that keep their readers from streaming, and parts that several read.

A language model shifts its labels by one place: it slices them. No loop can cut the rows of a slice, so an operator
that reads one, such as the likelihood of each label among all words, would need all of its large operands at a time.
Copied first, the labels are a tensor like any other, and whatever reads them streams by row.

The gradient of a concatenation is read in slices. Whoever reads a slice in a later section loads the whole tensor;
copied by the first of them, the others load their part.
"""

from __future__ import annotations

from dataclasses import replace

from backends.rdu.fuse.stages import base_values, busy_readers
from ir.graph import Graph, Node, Value
from ir.ops.elementwise import Cast

SMALL = 1 / 16
"""The part of what its reader reads or makes that a view may have to be small beside it, in bytes."""


def with_views_made(graph: Graph) -> Graph:
    """The graph with a copy of every such view, for all who read it."""
    base = base_values(graph)
    nodes: list[Node] = []
    made: dict[str, Value] = {}
    for node in graph.nodes:
        if made:
            node = replace(node, operands=tuple(made.get(operand.name, operand) for operand in node.operands))
        nodes.append(node)
        if _is_whole(node) and (_holds_up(graph, node) or _is_shared_part(graph, node, base[node.results[0].name])):
            (view,) = node.results
            made[view.name] = Value(f"{view.name}.made", view.type)
            nodes.append(Node(Cast(view.type.dtype), (view,), (made[view.name],), node.location))
    return replace(graph, nodes=tuple(nodes)) if made else graph


def _is_whole(node: Node) -> bool:
    """Whether a node is a view of a tensor some axis of which no loop can cut."""
    if not node.op.is_free or not node.operands:
        return False
    space = node.op.space(*(operand.type for operand in node.operands))
    return any(space.sizes[dim] > 1 for dim in space.whole)


def _holds_up(graph: Graph, node: Node) -> bool:
    """Whether somebody who reads a view handles much larger tensors."""
    (view,) = node.results
    largest = (max(v.type.nbytes for v in (*r.operands, *r.results)) for r in busy_readers(graph, view))
    return any(view.type.nbytes <= SMALL * nbytes for nbytes in largest)


def _is_shared_part(graph: Graph, node: Node, base: Value | None) -> bool:
    """Whether a view is no more than half of what the graph makes, and several operators read it."""
    (view,) = node.results
    if base is None or base.name not in graph.producers or 2 * view.type.nbytes > base.type.nbytes:
        return False
    return len({id(reader) for reader in busy_readers(graph, view)}) > 1
