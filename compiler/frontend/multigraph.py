"""Several forward graphs as one program over shared parameters and shared regions of device memory.

Every graph is captured by itself, then its symbols are renamed: parameters and buffers that are the same tensor become
one symbol; inputs and outputs of one region become one symbol, which a graph may read, write, or update in place; all
else gets the graph's name before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import has_content
from compiler.frontend.model_file import ModelSpec
from ir import verifier
from ir.errors import Problem, UsageError
from ir.graph import Graph, Node, Output, Program, Symbol, SymbolKind, Value
from ir.op import Array

REGION_PREFIX = "region/"
"""What the symbol of a region begins with."""

WEIGHTS = (SymbolKind.PARAMETER, SymbolKind.BUFFER)


@dataclass(frozen=True)
class ForwardGraph:
    """A forward graph: its model, and the region of each input (by name) and output (by position) that has one."""

    name: str
    spec: ModelSpec
    input_regions: Mapping[str, str] = field(default_factory=dict)
    output_regions: Mapping[int, str] = field(default_factory=dict)


def capture_graphs(graphs: Sequence[ForwardGraph], name: str) -> tuple[Captured, dict[str, Any]]:
    """One program of all graphs, and by graph the symbols of its inputs, outputs and weights.

    Raises UsageError where tensors of one region differ in type.
    """
    merger = _Merger()
    for graph in graphs:
        merger.add(graph)
    UsageError.raise_if(merger.problems)
    program = Program(name, tuple(merger.symbols.values()), tuple(merger.graphs))
    verifier.verify(program)
    return Captured(program, merger.values, ()), merger.layout


class _Merger:
    def __init__(self) -> None:
        self.symbols: dict[str, Symbol] = {}
        self.values: dict[str, Array] = {}
        self.graphs: list[Graph] = []
        self.layout: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.weights: dict[tuple[object, ...], str] = {}

    def add(self, graph: ForwardGraph) -> None:
        """Capture one graph and add it under its own names."""
        captured = capture(graph.spec, inference=True)
        outputs = [s.name for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT]
        names = self.names(graph, captured, outputs)
        for symbol in captured.program.symbols:
            self.declare(graph.name, symbol, names[symbol.name])
            if symbol.name in captured.values:
                self.values.setdefault(names[symbol.name], captured.values[symbol.name])
        self.graphs += [_renamed(part, names, graph.name) for part in captured.program.graphs]
        weights = [s.name for s in captured.program.symbols if s.kind in WEIGHTS]
        self.layout[graph.name] = {
            "inputs": {name: names[name] for name in graph.spec.inputs},
            "outputs": [names[name] for name in outputs],
            "weights": {name: names[name] for name in weights},
        }

    def names(self, graph: ForwardGraph, captured: Captured, outputs: list[str]) -> dict[str, str]:
        """The program-wide name of every symbol of a graph."""
        tensors = {**dict(graph.spec.model.named_parameters()), **dict(graph.spec.model.named_buffers())}
        regions = {**graph.input_regions, **{outputs[i]: region for i, region in graph.output_regions.items()}}
        names = {}
        for symbol in captured.program.symbols:
            own = f"{graph.name}/{symbol.name}"
            if symbol.kind in WEIGHTS and symbol.name in tensors:  # tracing adds buffers of its own
                fresh = own if symbol.name in self.symbols else symbol.name
                names[symbol.name] = self.weights.setdefault(_identity(tensors[symbol.name]), fresh)
            else:
                names[symbol.name] = f"{REGION_PREFIX}{regions[symbol.name]}" if symbol.name in regions else own
        return names

    def declare(self, graph: str, symbol: Symbol, name: str) -> None:
        """Declare a symbol, or find that it is there already, of the same type."""
        kind = SymbolKind.STATE if name.startswith(REGION_PREFIX) else symbol.kind
        known = self.symbols.setdefault(name, Symbol(name, symbol.type, kind))
        if known.type != symbol.type:
            region = name.removeprefix(REGION_PREFIX)
            message = f"region {region!r} is {known.type}, but {symbol.name!r} of graph {graph!r} is {symbol.type}"
            hint = "give tensors of one region the same shape and element type"
            self.problems.append(Problem(message, hint=hint))


def _identity(tensor: Tensor) -> tuple[object, ...]:
    """Equal for tensors of one shape on the same memory; tensors without content are told apart as objects."""
    memory = tensor.data_ptr() if has_content(tensor) else 0
    return (memory or id(tensor), tuple(tensor.shape), tensor.dtype)


def _renamed(graph: Graph, names: Mapping[str, str], name: str) -> Graph:
    """The graph with its symbols under other names, and its values under names of its own."""

    def value(old: Value) -> Value:
        return Value(names.get(old.name, f"{name}/value/{old.name}"), old.type)

    nodes = tuple(
        Node(node.op, tuple(map(value, node.operands)), tuple(map(value, node.results)), node.location)
        for node in graph.nodes
    )
    outputs = tuple(Output(names[output.symbol], value(output.value)) for output in graph.outputs)
    return replace(graph, inputs=tuple(map(value, graph.inputs)), nodes=nodes, outputs=outputs, name=name)
