"""Whole numbers that are known to fit need no check at run time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ir.graph import Graph, Node, Program, Value
from ir.ops.checked import Checked
from ir.ranges import Range, is_within, range_of


@dataclass(frozen=True)
class ProveIntegers:
    """Put the plain operator in the place of a checked one whose operands cannot break the check.

    Of symbols nothing is known but their types; from there on, operators say which numbers they can make.
    """

    name: ClassVar[str] = "prove-integers"

    def __call__(self, program: Program) -> Program:
        return replace(program, graphs=tuple(map(_proven, program.graphs)))


def _proven(graph: Graph) -> Graph:
    """The graph with checks only where one may fail."""
    if not any(isinstance(node.op, Checked) for node in graph.nodes):
        return graph
    ranges: dict[str, Range | None] = {value.name: range_of(value.type) for value in graph.inputs}
    return graph.with_nodes(tuple(_unchecked(node, ranges) for node in graph.nodes))


def _unchecked(node: Node, ranges: dict[str, Range | None]) -> Node:
    """The node, without its check where that holds for all operands; notes which numbers the results can hold."""
    types, known = [value.type for value in node.operands], [ranges[value.name] for value in node.operands]
    if isinstance(node.op, Checked) and node.op.is_safe(types, known):
        node = replace(node, op=node.op.plain)
    for result in node.results:
        ranges[result.name] = range_of(result.type)
    ranges[node.results[0].name] = _range_of_result(node, known)
    return node


def _range_of_result(node: Node, known: list[Range | None]) -> Range | None:
    """What the first result can hold: what its operator says, as far as that fits its type."""
    result: Value = node.results[0]
    whole = range_of(result.type)
    made = node.op.possible([value.type for value in node.operands], known) if whole else None
    return made if made and whole and is_within(made, whole) else whole
