"""A plan: what has been decided about a program so far, step by step, before it becomes a PEF."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from backends.rdu.allocate.buffers import Layout
from backends.rdu.cut.cut_section import CutGraph
from backends.rdu.cut.sections import Partition
from backends.rdu.cut.signature import Signature
from backends.rdu.route.route import Routing
from backends.rdu.wire.netlist import Placement
from backends.rdu.wire.nets import Wiring
from ir.graph import Graph, Program


class Step(Enum):
    """The steps of the mapping that can be stopped after, in order."""

    CUT = "cut"
    STREAM = "stream"
    ALLOCATE = "allocate"
    PLACE = "place"
    ROUTE = "route"

    def includes(self, other: Step) -> bool:
        """Whether a plan up to this step holds what the other decides."""
        order = list(Step)
        return order.index(other) <= order.index(self)


@dataclass(frozen=True, slots=True)
class Configured:
    """What has been decided about one configuration: PCUs, buffers and streams; sites; routes."""

    layout: Layout
    wiring: Wiring
    placement: Placement | None = None
    routing: Routing | None = None


@dataclass(frozen=True, slots=True)
class PlannedGraph:
    """What has been decided about one graph.

    budget: the share of the machine's units that its sections may plan with; lengths: the stages of each section,
    where they do not stream yet; keys: what tells the configuration of each section.
    """

    graph: Graph
    budget: float | None = None
    partition: Partition | None = None
    lengths: tuple[int, ...] = ()
    cut: CutGraph | None = None
    keys: tuple[Signature, ...] = ()


@dataclass(slots=True)
class Plan:
    """A program on its way to a PEF. Sections with equal signatures share a configuration."""

    program: Program
    graphs: list[PlannedGraph]
    configurations: dict[Signature, Configured] = field(default_factory=dict)

    @staticmethod
    def of(program: Program) -> Plan:
        """The plan in which nothing is decided."""
        return Plan(program, [PlannedGraph(graph) for graph in program.graphs])
