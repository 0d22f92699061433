"""The rules every program obeys, checked after capture and between passes. All broken rules are reported at once."""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import GraphError, Problem
from ir.graph import Graph, Node, Program, Symbol
from ir.types import TensorType


def verify(program: Program) -> None:
    """Raise one GraphError that lists every broken rule of every graph."""
    problems = [*_symbol_problems(program)]
    for graph in program.graphs:
        problems += _graph_problems(program, graph)
    GraphError.raise_if(problems)


def _symbol_problems(program: Program) -> Iterator[Problem]:
    if len(program.symbol) != len(program.symbols):
        yield Problem(f"program {program.name} declares a symbol twice")
    kinds = [(graph.kind, graph.name) for graph in program.graphs]
    if len(set(kinds)) != len(kinds):
        yield Problem(f"program {program.name} has two graphs of one section type and name")


def _graph_problems(program: Program, graph: Graph) -> Iterator[Problem]:
    label = f"graph {graph.kind.value}"
    defined: dict[str, TensorType] = {}
    for value in graph.inputs:
        symbol = program.symbol.get(value.name)
        if symbol is None or symbol.type != value.type:
            yield Problem(f"{label} reads %{value.name} as {value.type}, which is {_declared(symbol)}")
        if value.name in defined:
            yield Problem(f"{label} reads %{value.name} twice")
        defined[value.name] = value.type
    for node in graph.nodes:
        yield from _node_problems(node, defined)
        for result in node.results:
            if result.name in defined:
                yield Problem(f"%{result.name} is defined twice", node.location)
            defined[result.name] = result.type
    for output in graph.outputs:
        symbol = program.symbol.get(output.symbol)
        if defined.get(output.value.name) != output.value.type:
            yield Problem(f"{label} stores %{output.value.name}, which is not defined as {output.value.type}")
        if symbol is None or symbol.type != output.value.type:
            into = f"symbol {output.symbol}, which is {_declared(symbol)}"
            yield Problem(f"{label} stores {output.value.type} into {into}")
    if len({output.symbol for output in graph.outputs}) != len(graph.outputs):
        yield Problem(f"{label} stores a symbol twice")


def _declared(symbol: Symbol | None) -> str:
    return f"declared {symbol.type}" if symbol else "not declared"


def _node_problems(node: Node, defined: dict[str, TensorType]) -> Iterator[Problem]:
    for operand in node.operands:
        if defined.get(operand.name) != operand.type:
            yield Problem(f"{node.op.name} reads %{operand.name}, not defined as {operand.type}", node.location)
    types = [operand.type for operand in node.operands]
    try:
        expected = node.op.results(*types)
    except (ValueError, TypeError) as error:
        yield Problem(f"{node.op.name} does not accept ({', '.join(map(str, types))}): {error}", node.location)
        return
    if expected != tuple(result.type for result in node.results):
        made = ", ".join(map(str, expected))
        yield Problem(f"{node.op.name} makes {made}, not the declared results", node.location)
    for rule in node.op.broken_limits(*types):
        yield Problem(f"{node.op.name}: {rule}", node.location)
