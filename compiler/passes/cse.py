"""Common subexpressions are computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.passes.rewrite import Rewriter
from ir.graph import Graph, Node, Program
from ir.op import Op
from ir.ops.view import Full
from ir.text import print_attribute


@dataclass(frozen=True)
class Cse:
    """Of several nodes with one operator, equal attributes and the same operands, keep the first.

    Constants stay where they are: they cost nothing, and sharing one would tie together layers that are alike.
    """

    name: ClassVar[str] = "cse"

    def __call__(self, program: Program) -> Program:
        return replace(program, graphs=tuple(map(without_repeats, program.graphs)))


def without_repeats(graph: Graph) -> Graph:
    """The graph with every expression once."""
    rewriter = Rewriter(graph)
    first: dict[tuple[str, ...], Node] = {}
    for node in graph.nodes:
        node = replace(node, operands=tuple(map(rewriter.current, node.operands)))
        earlier = first.setdefault(_key(node, rewriter), node)
        if earlier is node or isinstance(node.op, Full):
            rewriter.add(node)
        else:
            rewriter.replaced.update((old.name, new) for old, new in zip(node.results, earlier.results))
    return rewriter.finish()


def _key(node: Node, rewriter: Rewriter) -> tuple[str, ...]:
    """What two nodes share that compute the same; equal constants count as one operand."""
    constants = map(rewriter.constant, node.operands)
    operands = (_text(full) if full else operand.name for full, operand in zip(constants, node.operands))
    return (_text(node.op), *operands)


def _text(op: Op) -> str:
    """An operator with its attributes as text: 0.0 and -0.0 are equal but not the same."""
    return f"{op.name} " + " ".join(f"{name}={print_attribute(value)}" for name, value in op.attributes().items())
