"""Each parameter's update right behind its gradient: BCKWD and OPT as one graph.

Apart, a gradient crosses device memory twice, and the parameter is loaded for the update although back-propagation has
just read it: ten times the parameters are moved in a step with AdamW. Together the gradient stays on chip: seven times.
A host that runs section types apart, as SambaFlow programs do, needs them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ir.graph import Graph, Node, Output, Program, SectionKind, SymbolKind, Value


def with_fused_update(program: Program) -> Program:
    """The program with one graph BCKWD_OPT in place of BCKWD and OPT, and without the gradients that only OPT read.

    A program stays as it is where something stands between the two, such as an average over replicas or the norm of all
    gradients, or where several graphs back-propagate.
    """
    kinds = [graph.kind for graph in program.graphs]
    if kinds.count(SectionKind.BCKWD) != 1 or kinds[-2:] != [SectionKind.BCKWD, SectionKind.OPT]:
        return program
    *before, backward, update = program.graphs
    gradients = {
        output.symbol: output.value
        for output in backward.outputs
        if program.symbol[output.symbol].kind is SymbolKind.GRADIENT
    }
    gradients = {value.name: gradients[value.name] for value in update.inputs if value.name in gradients}
    fused = _Fusion(backward, update, gradients).graph()
    symbols = tuple(symbol for symbol in program.symbols if symbol.name not in gradients)
    return replace(program, symbols=symbols, graphs=(*before, fused))


class _Fusion:
    """Puts the nodes of `update` among those of `backward`; `gradients` are the values of the symbols between them."""

    def __init__(self, backward: Graph, update: Graph, gradients: Mapping[str, Value]) -> None:
        self.backward = backward
        self.update = update
        self.gradients = gradients
        self.symbols = {value.name for value in update.inputs}
        self.values = dict(gradients)
        """What each value of the update is called here."""
        self.taken = {value.name for value in (*backward.values(), *update.inputs)}
        self.places: dict[str, int] = {}
        """Where the nodes of `backward` stand that make a value; -1 for what is there from the start."""
        self.last_reads: dict[str, int] = {}
        for number, node in enumerate(backward.nodes):
            self.places.update((result.name, number) for result in node.results)
            self.last_reads.update((operand.name, number) for operand in node.operands)

    def graph(self) -> Graph:
        """Every node of the update as early as it may be: behind the gradient, and behind the last who reads the
        parameter as it was."""
        behind: dict[int, list[Node]] = {}
        for node in self.update.nodes:
            place = max((self._place(operand) for operand in node.operands), default=-1)
            results = tuple(replace(result, name=self._fresh(result.name)) for result in node.results)
            operands = tuple(self._value(operand) for operand in node.operands)
            self.values.update((own.name, new) for own, new in zip(node.results, results))
            self.places.update((result.name, place) for result in results)
            behind.setdefault(place, []).append(replace(node, operands=operands, results=results))
        nodes = [*behind.get(-1, [])]
        for number, node in enumerate(self.backward.nodes):
            nodes += [node, *behind.get(number, [])]
        inputs = {value.name: value for value in (*self.backward.inputs, *self.update.inputs)}
        kept = tuple(value for name, value in inputs.items() if name not in self.gradients)
        return Graph(SectionKind.BCKWD_OPT, kept, tuple(nodes), tuple(self._outputs()))

    def _outputs(self) -> Iterator[Output]:
        yield from (output for output in self.backward.outputs if output.symbol not in self.gradients)
        yield from (Output(output.symbol, self._value(output.value)) for output in self.update.outputs)

    def _place(self, operand: Value) -> int:
        """The place behind which an operand of the update can be read: a symbol of its own is updated there."""
        made = self.places.get(self._value(operand).name, -1)
        return max(made, self.last_reads.get(operand.name, -1)) if operand.name in self.symbols else made

    def _value(self, operand: Value) -> Value:
        return self.values.get(operand.name, operand)

    def _fresh(self, name: str) -> str:
        """A name that no value has yet."""
        while name in self.taken:
            name = f"update.{name}"
        self.taken.add(name)
        return name
