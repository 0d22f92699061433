"""Smaller programs: without graphs, outputs, nodes, or with smaller extents. All of them valid.

What is taken out becomes an input, so that everything behind it stays. Each function yields candidates, from the
boldest to the most careful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

from compiler.passes.dce import Dce, without_dead_nodes
from ir.errors import GraphError
from ir.graph import Graph, Node, Output, Program, Symbol, SymbolKind, Value
from ir.op import Op
from ir.types import TensorType
from ir.verifier import verify

Candidates = Iterator[Program]


def fewer_graphs(program: Program) -> Candidates:
    """Without one of the graphs; what it stored for others becomes an input."""
    if len(program.graphs) > 1:
        for kept in program.graphs:
            yield tidied(replace(program, graphs=(kept,)))
        for left_out in program.graphs:
            yield tidied(replace(program, graphs=tuple(g for g in program.graphs if g is not left_out)))


def fewer_outputs(program: Program) -> Candidates:
    """Without some of the outputs of a graph."""
    for number, graph in enumerate(program.graphs):
        for kept in _chunks(graph.outputs):
            yield _with_graph(program, number, replace(graph, outputs=kept))


def earlier_ends(program: Program) -> Candidates:
    """With a graph that ends at a value in its middle, which becomes its only output."""
    for number, graph in enumerate(program.graphs):
        for node in _spread(graph.nodes):
            name = f"{node.results[0].name}.out"
            if node.op.is_free or name in program.symbol or any(o.value in node.results for o in graph.outputs):
                continue
            symbol = Symbol(name, node.results[0].type, SymbolKind.OUTPUT)
            grown = replace(program, symbols=(*program.symbols, symbol))
            yield _with_graph(grown, number, replace(graph, outputs=(Output(name, node.results[0]),)))


def later_starts(program: Program) -> Candidates:
    """With the results of some nodes as inputs, so that what leads to them can go."""
    for number, graph in enumerate(program.graphs):
        for start, stop in _ranges(len(graph.nodes)):
            made = [result for node in graph.nodes[start:stop] for result in node.results]
            rest = (*graph.nodes[:start], *graph.nodes[stop:])
            read = {operand.name for node in rest for operand in node.operands} | {o.value.name for o in graph.outputs}
            fed = [value for value in made if value.name in read and value.name not in program.symbol]
            if any(output.value in made for output in graph.outputs):
                continue
            symbols = tuple(Symbol(value.name, value.type, SymbolKind.INPUT) for value in fed)
            inputs = (*graph.inputs, *fed)
            smaller = replace(graph, nodes=rest, inputs=inputs)
            yield _with_graph(replace(program, symbols=(*program.symbols, *symbols)), number, smaller)


def smaller_extents(program: Program) -> Candidates:
    """With one extent, wherever it occurs in shapes and attributes, halved or made small."""
    extents = sorted({extent for symbol in program.symbols for extent in symbol.type.shape if extent > 1}, reverse=True)
    for extent in extents:
        for smaller in dict.fromkeys((1, 2, 4, 8, extent // 2)):
            if smaller < extent:
                candidate = _with_extent(program, extent, smaller)
                if candidate is not None:
                    yield candidate


SHRINKERS: tuple[Callable[[Program], Candidates], ...] = (
    fewer_graphs,
    fewer_outputs,
    earlier_ends,
    later_starts,
    smaller_extents,
)


def tidied(program: Program) -> Program:
    """Without dead nodes, and without symbols that no graph reads or stores."""
    graphs = tuple(without_dead_nodes(graph) for graph in program.graphs)
    program = Dce()(replace(program, graphs=graphs))
    graphs = tuple(graph for graph in program.graphs if graph.outputs)
    used = {value.name for graph in graphs for value in graph.inputs}
    used |= {output.symbol for graph in graphs for output in graph.outputs}
    stored: set[str] = set()
    symbols = {symbol.name: symbol for symbol in program.symbols if symbol.name in used}
    for graph in graphs:
        for value in graph.inputs:
            if value.name not in stored and symbols[value.name].kind in (SymbolKind.ACTIVATION, SymbolKind.GRADIENT):
                symbols[value.name] = replace(symbols[value.name], kind=SymbolKind.INPUT)
        stored |= {output.symbol for output in graph.outputs}
    return Program(program.name, tuple(symbols.values()), graphs)


def _with_graph(program: Program, number: int, graph: Graph) -> Program:
    graphs = list(program.graphs)
    graphs[number] = graph.with_nodes(graph.nodes)
    return tidied(replace(program, graphs=tuple(graphs)))


def _chunks(outputs: Sequence[Output]) -> Iterator[tuple[Output, ...]]:
    """Parts of the outputs: each alone of a few, halves of many, all but one."""
    count = len(outputs)
    if count < 2:
        return
    if count > 8:
        yield tuple(outputs[: count // 2])
        yield tuple(outputs[count // 2 :])
    else:
        for output in outputs:
            yield (output,)
    for left_out in outputs:
        yield tuple(output for output in outputs if output is not left_out)


def _ranges(count: int) -> Iterator[tuple[int, int]]:
    """Ranges of half the length, a quarter, and so on down to one."""
    length = max(1, count // 2)
    while True:
        for start in range(0, count, length):
            yield start, min(count, start + length)
        if length == 1:
            return
        length //= 2


def _spread(nodes: Sequence[Node]) -> list[Node]:
    """The nodes in the order of bisection: the middle, then the middles of both halves, and so on."""
    order, waiting = [], [(0, len(nodes))]
    while waiting:
        start, stop = waiting.pop(0)
        if start < stop:
            middle = (start + stop) // 2
            order.append(nodes[middle])
            waiting += [(start, middle), (middle + 1, stop)]
    return order


def _with_extent(program: Program, old: int, new: int) -> Program | None:
    """The program in which an extent is another; None where that makes no valid one."""

    def swapped(shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(new if extent == old else extent for extent in shape)

    symbols = tuple(replace(s, type=s.type.with_shape(swapped(s.type.shape))) for s in program.symbols)
    types = {symbol.name: symbol.type for symbol in symbols}
    try:
        graphs = tuple(_inferred(graph, types, swapped) for graph in program.graphs)
        candidate = Program(program.name, symbols, graphs)
        verify(candidate)
    except (GraphError, ValueError, TypeError, ArithmeticError, LookupError):
        return None  # an operator has no such form; other extents may
    return candidate


def _inferred(graph: Graph, types: dict[str, TensorType], swapped: Callable[[Sequence[int]], tuple[int, ...]]) -> Graph:
    values = {value.name: Value(value.name, types[value.name]) for value in graph.inputs}
    inputs, nodes = tuple(values.values()), []
    for node in graph.nodes:
        operands = tuple(values[operand.name] for operand in node.operands)
        op = _with_attributes(node.op, swapped)
        results = op.results(*(operand.type for operand in operands))
        made = tuple(Value(result.name, type) for result, type in zip(node.results, results))
        values.update((value.name, value) for value in made)
        nodes.append(Node(op, operands, made, node.location))
    outputs = tuple(Output(output.symbol, values[output.value.name]) for output in graph.outputs)
    return Graph(graph.kind, inputs, tuple(nodes), outputs, graph.name)


def _with_attributes(op: Op, swapped: Callable[[Sequence[int]], tuple[int, ...]]) -> Op:
    """The operator with the extent swapped in shapes that it spells out."""
    shapes = {f.name: getattr(op, f.name) for f in fields(op) if f.name in ("shape", "size")}  # type: ignore[arg-type]
    changed = {name: swapped(value) for name, value in shapes.items() if isinstance(value, tuple)}
    return replace(op, **changed) if changed else op  # type: ignore[type-var]
