"""Building a graph node by node, with types inferred and names made unique."""

from __future__ import annotations

from ir.errors import GraphError, Problem
from ir.graph import Graph, Node, Output, SectionKind, Value
from ir.location import Location
from ir.op import Op
from ir.types import TensorType


class GraphBuilder:
    """Collects nodes in topological order; `build` returns the immutable graph.

    `location` is what the next nodes come from; it must be set before the first node is added.
    """

    def __init__(self, kind: SectionKind) -> None:
        self.kind = kind
        self.location: Location | None = None
        self._inputs: dict[str, Value] = {}
        self._nodes: list[Node] = []
        self._outputs: dict[str, Output] = {}
        self._names: set[str] = set()
        self._counts: dict[str, int] = {}

    def input(self, symbol: str, type: TensorType) -> Value:
        """Read a symbol; reading it twice gives the same value."""
        if symbol not in self._inputs:
            self._names.add(symbol)
            self._inputs[symbol] = Value(symbol, type)
        return self._inputs[symbol]

    def is_taken(self, name: str) -> bool:
        """Whether a value or symbol has this name."""
        return name in self._names

    def add(self, op: Op, *operands: Value, hint: str | None = None) -> Value:
        """Apply an operator with one result, named after `hint` or the operator."""
        return self.add_all(op, *operands, hint=hint)[0]

    def add_all(self, op: Op, *operands: Value, hint: str | None = None) -> tuple[Value, ...]:
        """Apply an operator and return all its results. Raises GraphError where the operands do not fit."""
        if self.location is None:
            raise GraphError(f"operator {op.name} was added without a source location")
        try:
            types = op.results(*(operand.type for operand in operands))
        except ValueError as error:
            raise GraphError(Problem(f"{op.name}: {error}", self.location)) from error
        results = tuple(Value(self._fresh(hint or op.name), type) for type in types)
        self._nodes.append(Node(op, operands, results, self.location))
        return results

    def output(self, symbol: str, value: Value) -> None:
        """Store `value` into `symbol` at the end of the graph."""
        if symbol in self._outputs:
            raise GraphError(f"symbol {symbol} is stored twice")
        self._outputs[symbol] = Output(symbol, value)

    def build(self) -> Graph:
        """The graph as collected so far."""
        return Graph(self.kind, tuple(self._inputs.values()), tuple(self._nodes), tuple(self._outputs.values()))

    def _fresh(self, hint: str) -> str:
        """`hint`, or `hint.1`, `hint.2` and so on where it is taken."""
        name, count = hint, self._counts.get(hint, 0)
        while name in self._names:
            count += 1
            name = f"{hint}.{count}"
        self._names.add(name)
        self._counts[hint] = count
        return name
