"""Dead code: what no output needs is not computed, what no graph reads is not saved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ir.graph import Graph, Node, Program, SymbolKind

INTERNAL = (SymbolKind.ACTIVATION, SymbolKind.CONSTANT)
"""Symbols that exist only for the program's own graphs to read."""


@dataclass(frozen=True)
class Dce:
    """Remove nodes nothing uses, stores of activations that no later graph reads, and symbols left unread by that."""

    name: ClassVar[str] = "dce"

    def __call__(self, program: Program) -> Program:
        read: set[str] = set()
        graphs: list[Graph] = []
        for graph in reversed(program.graphs):
            live = without_dead_nodes(_without_unread(program, graph, read))
            read |= {value.name for value in live.inputs}
            graphs.insert(0, live)
        symbols = tuple(symbol for symbol in program.symbols if symbol.kind not in INTERNAL or symbol.name in read)
        return replace(program, symbols=symbols, graphs=tuple(graphs))


def _without_unread(program: Program, graph: Graph, read: set[str]) -> Graph:
    """The graph without stores of activations that no later graph reads."""
    outputs = tuple(
        output
        for output in graph.outputs
        if program.symbol[output.symbol].kind is not SymbolKind.ACTIVATION or output.symbol in read
    )
    return replace(graph, outputs=outputs)


def without_dead_nodes(graph: Graph) -> Graph:
    """The graph without nodes none of whose results is used."""
    used = {output.value.name for output in graph.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(result.name in used for result in node.results):
            kept.append(node)
            used |= {operand.name for operand in node.operands}
    return graph.with_nodes(tuple(reversed(kept)))
