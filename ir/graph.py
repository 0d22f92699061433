"""The graph language: immutable values, nodes, graphs and programs.

    Program = Symbol* Graph*                  named tensors in device memory, and one graph per section type
    Graph   = kind (Value*) -> Node* Output*  inputs are symbols; an output stores a value into a symbol
    Node    = Op (Value*) -> Value* @ Location

A graph that stores into a symbol it also reads updates that symbol: reads see the value from before the graph ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from ir.location import Location
from ir.op import Op
from ir.types import TensorType


class SectionKind(Enum):
    """What a graph is for, in SambaFlow's words; the order is the order of a training step. BCKWD_OPT is our own: it
    updates every parameter right behind its gradient, so it stands for both BCKWD and OPT."""

    FWD = "FWD"
    BCKWD = "BCKWD"
    REDUCE = "REDUCE"
    GRADNORM = "GRADNORM"
    OPT = "OPT"
    BCKWD_OPT = "BCKWD_OPT"

    @property
    def back_propagates(self) -> bool:
        """Whether it computes gradients."""
        return self in (SectionKind.BCKWD, SectionKind.BCKWD_OPT)

    @property
    def updates(self) -> bool:
        """Whether it updates parameters."""
        return self in (SectionKind.OPT, SectionKind.BCKWD_OPT)


class SymbolKind(Enum):
    """What a tensor in device memory is for, and so who writes it and how long it lives."""

    INPUT = "input"
    PARAMETER = "parameter"
    BUFFER = "buffer"
    CONSTANT = "constant"
    HYPER = "hyper"
    OUTPUT = "output"
    OUTPUT_GRADIENT = "output_gradient"
    GRADIENT = "gradient"
    STATE = "state"
    ACTIVATION = "activation"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named tensor in device memory."""

    name: str
    type: TensorType
    kind: SymbolKind


@dataclass(frozen=True, slots=True)
class Value:
    """The one result of one node, or a symbol as a graph reads it. Names are unique within a graph."""

    name: str
    type: TensorType


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an operator."""

    op: Op
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Output:
    """`value` is stored into the symbol called `symbol` when the graph has run."""

    symbol: str
    value: Value


@dataclass(frozen=True)
class Graph:
    """One section type's computation, in topological order; a name tells several forward graphs apart."""

    kind: SectionKind
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    name: str = ""

    @cached_property
    def producers(self) -> dict[str, Node]:
        """The node that makes each value; inputs have none."""
        return {result.name: node for node in self.nodes for result in node.results}

    @cached_property
    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each value, in order, each once; values nobody reads have an empty list."""
        readers: dict[str, list[Node]] = {value.name: [] for value in self.values()}
        for node in self.nodes:
            for name in dict.fromkeys(operand.name for operand in node.operands):
                readers[name].append(node)
        return readers

    def values(self) -> Iterator[Value]:
        """Inputs, then results in order."""
        yield from self.inputs
        for node in self.nodes:
            yield from node.results

    def with_nodes(self, nodes: tuple[Node, ...], outputs: tuple[Output, ...] | None = None) -> Graph:
        """This graph with other nodes (and outputs), reading only the inputs still used."""
        kept = self.outputs if outputs is None else outputs
        used = {operand.name for node in nodes for operand in node.operands} | {out.value.name for out in kept}
        return replace(self, inputs=tuple(v for v in self.inputs if v.name in used), nodes=nodes, outputs=kept)


@dataclass(frozen=True)
class Program:
    """All graphs of a compiled model over its shared symbols."""

    name: str
    symbols: tuple[Symbol, ...]
    graphs: tuple[Graph, ...]

    @cached_property
    def symbol(self) -> dict[str, Symbol]:
        """Symbols by name."""
        return {symbol.name: symbol for symbol in self.symbols}

    def graph(self, kind: SectionKind) -> Graph | None:
        """The graph of one section type, if the program has it."""
        return next((graph for graph in self.graphs if graph.kind is kind), None)
