"""Small views that keep what reads them from streaming: they are made once, by a stage of their own.

A language model shifts its labels by one place: it slices them. No loop can cut the rows of a slice, so an operator
that reads one, such as the likelihood of each label among all words, would need all of its large operands at a time.
Copied first, the labels are a tensor like any other, and whatever reads them streams by row.
"""

from __future__ import annotations

from dataclasses import replace

from backends.rdu.fuse.stages import busy_readers
from ir.graph import Graph, Node, Value
from ir.ops.elementwise import Cast

SMALL = 1 / 16
"""The part of what its reader reads or makes that a view may have to be small beside it, in bytes."""


def with_small_views_made(graph: Graph) -> Graph:
    """The graph with a copy of every small view that no loop can cut, for all who read it."""
    nodes: list[Node] = []
    made: dict[str, Value] = {}
    for node in graph.nodes:
        if made:
            node = replace(node, operands=tuple(made.get(operand.name, operand) for operand in node.operands))
        nodes.append(node)
        if node.op.is_free and node.operands and _holds_up(graph, node):
            (view,) = node.results
            made[view.name] = Value(f"{view.name}.made", view.type)
            nodes.append(Node(Cast(view.type.dtype), (view,), (made[view.name],), node.location))
    return replace(graph, nodes=tuple(nodes)) if made else graph


def _holds_up(graph: Graph, node: Node) -> bool:
    """Whether a loop cannot cut some axis of a view, and somebody who reads it handles much larger tensors."""
    space = node.op.space(*(operand.type for operand in node.operands))
    if all(space.sizes[dim] == 1 for dim in space.whole):
        return False
    (view,) = node.results
    largest = (max(v.type.nbytes for v in (*r.operands, *r.results)) for r in busy_readers(graph, view))
    return any(view.type.nbytes <= SMALL * nbytes for nbytes in largest)
