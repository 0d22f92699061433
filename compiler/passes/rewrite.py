"""Rebuilding a graph node by node: what every local rewrite is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ir.graph import Graph, Node, Output, Program, Value
from ir.location import Location
from ir.op import Op
from ir.ops.view import Full

Rewrite = Node | Value | None
Rule = Callable[[Node, "Rewriter"], Rewrite]
"""What a node is to become: another node with the same results, an existing value in place of its only result, or
None where the rule does not apply."""


class Rewriter:
    """Collects the nodes of the new graph; values that were replaced are looked up in it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.producers: dict[str, Node] = {}
        self.replaced: dict[str, Value] = {}
        self._names = {value.name for value in graph.values()}

    def apply(self, rules: Iterable[Rule]) -> Graph:
        """The graph with `rules` applied to every node until none applies."""
        for node in self.graph.nodes:
            self._rewrite(node, tuple(rules))
        return self.finish()

    def _rewrite(self, node: Node, rules: tuple[Rule, ...]) -> None:
        node = replace(node, operands=tuple(map(self.current, node.operands)))
        while True:
            rewritten = next((new for rule in rules if (new := rule(node, self)) is not None), None)
            if rewritten is None:
                self.add(node)
                return
            if isinstance(rewritten, Value):
                self.replaced[node.results[0].name] = rewritten
                return
            node = rewritten

    def current(self, value: Value) -> Value:
        """What stands for `value` in the new graph."""
        return self.replaced.get(value.name, value)

    def add(self, node: Node) -> None:
        """Append a finished node."""
        self.nodes.append(node)
        self.producers.update((result.name, node) for result in node.results)

    def emit(self, op: Op, *operands: Value, location: Location, hint: str) -> Value:
        """Append a new node with one result."""
        value = Value(self.fresh(hint), op.results(*(operand.type for operand in operands))[0])
        self.add(Node(op, operands, (value,), location))
        return value

    def fresh(self, hint: str) -> str:
        """A name no value has, like `hint`."""
        name, count = hint, 0
        while name in self._names:
            count += 1
            name = f"{hint}.{count}"
        self._names.add(name)
        return name

    def finish(self) -> Graph:
        """The new graph."""
        outputs = tuple(Output(output.symbol, self.current(output.value)) for output in self.graph.outputs)
        return self.graph.with_nodes(tuple(self.nodes), outputs)

    def constant(self, value: Value) -> Full | None:
        """The constant that `value` is, if it is one."""
        node = self.producers.get(value.name)
        return node.op if node is not None and isinstance(node.op, Full) else None


def rewrite(program: Program, *rules: Rule) -> Program:
    """Every graph of the program with `rules` applied."""
    return replace(program, graphs=tuple(Rewriter(graph).apply(rules) for graph in program.graphs))
