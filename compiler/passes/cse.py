"""Common subexpressions are computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.passes.rewrite import Rewriter
from ir.graph import Graph, Node, Program
from ir.text import print_attribute


@dataclass(frozen=True)
class Cse:
    """Of several nodes with one operator, equal attributes and the same operands, keep the first."""

    name: ClassVar[str] = "cse"

    def __call__(self, program: Program) -> Program:
        return replace(program, graphs=tuple(map(without_repeats, program.graphs)))


def without_repeats(graph: Graph) -> Graph:
    """The graph with every expression once."""
    rewriter = Rewriter(graph)
    first: dict[tuple[str, ...], Node] = {}
    for node in graph.nodes:
        node = replace(node, operands=tuple(map(rewriter.current, node.operands)))
        earlier = first.setdefault(_key(node), node)
        if earlier is node:
            rewriter.add(node)
        else:
            rewriter.replaced.update((old.name, new) for old, new in zip(node.results, earlier.results))
    return rewriter.finish()


def _key(node: Node) -> tuple[str, ...]:
    """What two nodes share that compute the same. Attributes as text: 0.0 and -0.0 are equal but not the same."""
    attributes = (f"{name}={print_attribute(value)}" for name, value in node.op.attributes().items())
    return (node.op.name, *attributes, *(operand.name for operand in node.operands))
