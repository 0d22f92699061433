"""A section as the cut leaves it: stages, how they stream, what they load and what they store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backends.rdu.fuse.indexed import Gather, Update
from backends.rdu.fuse.stages import StageNodes
from backends.rdu.stream.nests import Phase
from ir.graph import Graph, Node, Output, Symbol, Value


@dataclass(frozen=True, slots=True)
class Store:
    """A value that a section leaves in memory: the busy result `base`, through free operators, into `symbol`, or over
    those slices of it that an `update` names."""

    base: Value
    views: tuple[Node, ...]
    value: Value
    symbol: str
    update: Update | None = None

    @property
    def needs(self) -> tuple[Value, ...]:
        """What must have been made before."""
        return (self.base,) if self.update is None else (self.base, self.update.index)


@dataclass(frozen=True, slots=True)
class CutSection:
    """Stages on the fabric at one time, the symbol each value from outside is loaded from, what is stored, and the
    phases in which the stages stream.

    `rule` says what fused them at o1: a rule, or a region of the program. `gathers` are the values that are fetched by
    index.
    """

    graph: Graph
    stages: tuple[StageNodes, ...]
    loads: dict[str, str]
    stores: tuple[Store, ...]
    phases: tuple[Phase, ...]
    rule: str = ""
    gathers: Mapping[str, Gather] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CutGraph:
    """The sections of one graph in running order, and the symbols that carry values between them."""

    sections: tuple[CutSection, ...]
    symbols: tuple[Symbol, ...]


def output_store(graph: Graph, output: Output) -> Store:
    """The store of one output: back through free operators to what it is a view of, an immediate at the furthest."""
    views: list[Node] = []
    value = output.value
    while (producer := graph.producers.get(value.name)) is not None and producer.op.is_free and producer.operands:
        views.append(producer)
        value = producer.operands[0]
    return Store(value, tuple(reversed(views)), output.value, output.symbol)
