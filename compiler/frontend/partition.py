"""A joint graph split into a forward and a backward graph, saving as little as possible between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ir.graph import Graph, Node, Output, SectionKind, Symbol, SymbolKind, Value
from ir.ops.view import Slice


@dataclass(frozen=True)
class Split:
    """The two graphs, and the symbols through which the forward graph hands values to the backward graph."""

    forward: Graph
    backward: Graph
    activations: tuple[Symbol, ...]


def partition(joint: Graph, forward_symbols: Iterable[str], output_gradients: Iterable[str] = ()) -> Split:
    """Forward is what the stores into `forward_symbols` need; backward is the rest of what the other stores need, and
    of stores that depend on gradients of outputs, as what a hook keeps does.

    The backward graph reads what it can from symbols, computes views of them again (that is address arithmetic), and
    has the forward graph save the rest. Outputs are not saved a second time.
    """
    names = set(forward_symbols)
    late = set(output_gradients)
    for node in joint.nodes:
        if any(operand.name in late for operand in node.operands):
            late.update(result.name for result in node.results)
    stored = [output for output in joint.outputs if output.symbol in names and output.value.name not in late]
    forward = _needed(joint, (output.value for output in stored))
    return _Partition(joint, stored, forward).split()


def _needed(joint: Graph, values: Iterable[Value]) -> set[str]:
    """The names of all values that exist once `values` do: themselves, and all results of what they come from."""
    pending = [value.name for value in values]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        if name in joint.producers:
            node = joint.producers[name]
            found.update(result.name for result in node.results)
            pending += [operand.name for operand in node.operands]
    return found


class _Partition:
    def __init__(self, joint: Graph, stored: list[Output], forward: set[str]) -> None:
        self.joint = joint
        self.stored = stored
        self.forward = forward
        self.inputs = {value.name for value in joint.inputs}
        self.overwritten = {output.symbol for output in stored}
        self.saved: dict[str, Value] = {}
        self.backward_nodes: set[str] = set()

    def split(self) -> Split:
        gradients = tuple(output for output in self.joint.outputs if output not in self.stored)
        for output in gradients:
            self.require(output.value)
        symbols = {name: self.symbol(value) for name, value in self.saved.items()}
        activations = tuple(symbol for symbol in symbols.values() if symbol.kind is SymbolKind.ACTIVATION)
        saves = tuple(
            Output(symbol.name, self.saved[name])
            for name, symbol in symbols.items()
            if symbol.kind is SymbolKind.ACTIVATION
        )
        return Split(
            self.graph(SectionKind.FWD, self.forward, (*self.stored, *saves), {}),
            self.graph(SectionKind.BCKWD, self.backward_nodes, gradients, symbols),
            activations,
        )

    def require(self, value: Value) -> None:
        """Have `value` in the backward graph: read it, save it, or compute it there."""
        pending = [value]
        while pending:
            value = pending.pop()
            if value.name in self.backward_nodes or value.name in self.saved:
                continue
            node = self.joint.producers.get(value.name)
            if node is None and value.name not in self.overwritten:
                continue
            if node is None or (value.name in self.forward and not self.is_cheap(node)):
                self.saved[value.name] = value
                continue
            self.backward_nodes.update(result.name for result in node.results)
            pending += node.operands

    def is_cheap(self, node: Node) -> bool:
        """Whether to compute again rather than save: views, but slices only of what is in memory anyway."""
        if not node.op.is_free or len(node.operands) > 1:
            return False
        return not isinstance(node.op, Slice) or self.is_view_of_symbol(node)

    def is_view_of_symbol(self, node: Node) -> bool:
        """Whether following views leads to a symbol that keeps its content."""
        source = node.operands[0].name if node.operands else ""
        if source in self.joint.producers:
            above = self.joint.producers[source]
            return above.op.is_free and len(above.operands) == 1 and self.is_view_of_symbol(above)
        return source not in self.overwritten

    def symbol(self, value: Value) -> Symbol:
        """Where the backward graph finds a forward value: the output it is stored to, or an activation."""
        for output in self.stored:
            if output.value.name == value.name and output.symbol not in self.inputs:
                return Symbol(output.symbol, value.type, SymbolKind.OUTPUT)
        name = f"{value.name}.before" if value.name in self.inputs else value.name
        return Symbol(name, value.type, SymbolKind.ACTIVATION)

    def graph(
        self, kind: SectionKind, names: set[str], outputs: tuple[Output, ...], symbols: dict[str, Symbol]
    ) -> Graph:
        """The nodes that make `names`, reading saved values from their symbols."""
        saved = {name: Value(symbol.name, symbol.type) for name, symbol in symbols.items()}

        def found(value: Value) -> Value:
            return saved.get(value.name, value)

        nodes = tuple(
            Node(node.op, tuple(map(found, node.operands)), node.results, node.location)
            for node in self.joint.nodes
            if any(result.name in names for result in node.results)
        )
        stores = tuple(Output(output.symbol, found(output.value)) for output in outputs)
        return Graph(kind, (*self.joint.inputs, *saved.values()), nodes, ()).with_nodes(nodes, stores)
