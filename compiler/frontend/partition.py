"""A joint graph split into a forward and a backward graph, saving as little as possible between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compiler.frontend.saving import computed_again, is_view, long_chains, may_repeat
from ir.graph import Graph, Node, Output, SectionKind, Symbol, SymbolKind, Value


@dataclass(frozen=True)
class Split:
    """The two graphs, and the symbols through which the forward graph hands values to the backward graph."""

    forward: Graph
    backward: Graph
    activations: tuple[Symbol, ...]


def partition(
    joint: Graph, forward_symbols: Iterable[str], output_gradients: Iterable[str] = (), *, recompute: bool = True
) -> Split:
    """Forward is what the stores into `forward_symbols` need; backward is the rest of what the other stores need, and
    of stores that depend on gradients of outputs, as what a hook keeps does.

    The backward graph reads what it can from symbols, and of the other forward values it needs it computes again what
    is cheaper to compute than to save (`saving.py`); without `recompute`, views alone. Outputs are not saved a second
    time.
    """
    names = set(forward_symbols)
    late = set(output_gradients)
    for node in joint.nodes:
        if any(operand.name in late for operand in node.operands):
            late.update(result.name for result in node.results)
    stored = [output for output in joint.outputs if output.symbol in names and output.value.name not in late]
    forward = _needed(joint, (output.value for output in stored))
    return _Partition(joint, stored, forward).split(recompute)


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
        stored_symbols = {output.symbol for output in stored}
        self.gradients = tuple(output for output in joint.outputs if output.symbol not in stored_symbols)
        self.inputs = {value.name for value in joint.inputs}
        self.overwritten = stored_symbols
        self.delivered = {output.value.name: output for output in stored[::-1] if output.symbol not in self.inputs}

    def split(self, recompute: bool) -> Split:
        reads = list(self.reads())
        bound = (self.inputs - self.overwritten) | self.delivered.keys()
        again = computed_again(self.joint, reads, bound, may_repeat if recompute else is_view)
        if recompute and (lasting := long_chains(self.joint, again)):
            again = computed_again(
                self.joint,
                reads,
                bound,
                lambda node, joint: may_repeat(node, joint) and node.results[0].name not in lasting,
            )
        names, saved = self.backward(again)
        symbols = {name: self.symbol(value) for name, value in saved.items()}
        activations = tuple(symbol for symbol in symbols.values() if symbol.kind is SymbolKind.ACTIVATION)
        saves = tuple(
            Output(symbol.name, saved[name]) for name, symbol in symbols.items() if symbol.kind is SymbolKind.ACTIVATION
        )
        return Split(
            self.graph(SectionKind.FWD, self.forward, (*self.stored, *saves), {}),
            self.graph(SectionKind.BCKWD, names, self.gradients, symbols),
            activations,
        )

    def reads(self) -> Iterator[Value]:
        """What gradients, and what they alone need, take from the forward pass and from symbols."""
        late = _needed(self.joint, (output.value for output in self.gradients)) - self.forward
        own = [node for node in self.joint.nodes if node.results[0].name in late]
        operands = [operand for node in own for operand in node.operands]
        made = {result.name for node in own for result in node.results}
        yield from (value for value in (*operands, *(out.value for out in self.gradients)) if value.name not in made)

    def backward(self, again: set[str]) -> tuple[set[str], dict[str, Value]]:
        """The values that the backward graph computes, and those it reads that the forward graph has to store."""
        pending = [output.value for output in self.gradients]
        made: set[str] = set()
        saved: dict[str, Value] = {}
        while pending:
            value = pending.pop()
            if value.name in made or value.name in saved:
                continue
            node = self.joint.producers.get(value.name)
            if node is None and value.name not in self.overwritten:
                continue
            if node is None or value.name in self.delivered or (value.name in self.forward and value.name not in again):
                saved[value.name] = value
                continue
            made.update(result.name for result in node.results)
            pending += node.operands
        return made, saved

    def symbol(self, value: Value) -> Symbol:
        """Where the backward graph finds a forward value: the output it is stored to, or an activation."""
        if value.name in self.delivered:
            return Symbol(self.delivered[value.name].symbol, value.type, SymbolKind.OUTPUT)
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
            Node(node.op, tuple(map(found, node.operands)), node.results, node.location) for node in self.late(names)
        )
        stores = tuple(Output(output.symbol, found(output.value)) for output in outputs)
        return Graph(kind, (*self.joint.inputs, *saved.values()), nodes, ()).with_nodes(nodes, stores)

    def late(self, names: set[str]) -> list[Node]:
        """The nodes that make `names`, each that is computed again right before its first reader: values made long
        before they are read would be written to memory after all."""
        readers: dict[str, int] = {}
        places = []
        for number, node in reversed(list(enumerate(self.joint.nodes))):
            results = [result.name for result in node.results]
            if names.isdisjoint(results):
                continue
            place = number
            if self.forward.issuperset(results):
                place = min((readers[name] for name in results if name in readers), default=number)
            places.append((place, number))
            readers.update((operand.name, min(place, readers.get(operand.name, place))) for operand in node.operands)
        return [self.joint.nodes[number] for _, number in sorted(places)]
