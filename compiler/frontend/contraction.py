"""Minimum cuts of networks that are mostly chains: what can be decided where it stands never reaches the search.

A search for a maximum flow walks along a chain of n vertices once for every arc that feeds it, which takes n^2 steps.
Here every vertex whose side follows from one neighbour is taken out first, in time linear in the size of the network.
What is left is cut by networkx.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable

import networkx as nx
from networkx.algorithms.flow import boykov_kolmogorov

Vertex = Hashable
Rule = Callable[[set[Vertex]], bool]
"""Whether a vertex is on the source's side, where those that were taken out after it are decided."""


def source_side(network: nx.DiGraph, source: Vertex, sink: Vertex) -> set[Vertex]:
    """Of all cheapest cuts between source and sink, the fewest vertices that stay with the source, itself among them.

    Arcs cost their `capacity` where they lead from the source's side to the sink's; those without may not be cut. The
    network is taken apart on the way.
    """
    rules = _Contraction(network, source, sink).run()
    side: set[Vertex] = {source}
    if network.has_node(source) and network.has_node(sink):
        side |= boykov_kolmogorov(network, source, sink).graph["trees"][0].keys()
    for vertex, is_with_source in reversed(rules):
        if is_with_source(side):
            side.add(vertex)
    return side


class _Contraction:
    def __init__(self, network: nx.DiGraph, source: Vertex, sink: Vertex) -> None:
        self.network = network
        self.source = source
        self.sink = sink
        self.rules: list[tuple[Vertex, Rule]] = []
        self.pending = deque(network.nodes)

    def run(self) -> list[tuple[Vertex, Rule]]:
        """Take out what can be decided, until nothing can; how to decide each, in that order."""
        while self.pending:
            vertex = self.pending.popleft()
            if vertex in self.network and vertex not in (self.source, self.sink):
                rule = self.rule_for(vertex)
                if rule is not None:
                    self.take_out(vertex)
                    self.rules.append((vertex, rule))
        if self.network.has_edge(self.source, self.sink):
            self.network.remove_edge(self.source, self.sink)  # in every cut
        return self.rules

    def rule_for(self, vertex: Vertex) -> Rule | None:
        """How the vertex's side follows from others; the arcs that then stand for those through it are added."""
        givers = {other: _capacity(arc) for other, arc in self.network.pred[vertex].items()}
        takers = {other: _capacity(arc) for other, arc in self.network.succ[vertex].items()}
        if givers.get(self.source) == math.inf:
            self.join({self.source: math.inf}, takers)
            return lambda side: True
        if takers.get(self.sink) == math.inf or not givers:
            self.join(givers, {self.sink: math.inf})
            return lambda side: False
        if not takers:
            return lambda side: any(other in side and capacity for other, capacity in givers.items())
        if len(givers) == len(takers) == 1:
            (giver, into), (taker, out) = *givers.items(), *takers.items()
            self.join(givers, takers)
            # Beside its giver alone, it stays with it where the way on is cheaper to cut.
            return lambda side: giver in side and (into > 0 if taker in side else out < into)
        return None

    def join(self, givers: dict[Vertex, float], takers: dict[Vertex, float]) -> None:
        """Arcs from all givers to all takers, in place of two in a row."""
        for giver, into in givers.items():
            for taker, out in takers.items():
                if giver != taker:
                    self.add(giver, taker, min(into, out))

    def add(self, giver: Vertex, taker: Vertex, capacity: float) -> None:
        """An arc beside the one there may be already."""
        known = self.network.get_edge_data(giver, taker)
        total = capacity + (_capacity(known) if known is not None else 0)
        self.network.add_edge(giver, taker)
        if total == math.inf:
            self.network[giver][taker].pop("capacity", None)
        else:
            self.network[giver][taker]["capacity"] = total

    def take_out(self, vertex: Vertex) -> None:
        """Remove the vertex and look at its neighbours again."""
        self.pending.extend(self.network.pred[vertex])
        self.pending.extend(self.network.succ[vertex])
        self.network.remove_node(vertex)


def _capacity(arc: dict[str, float]) -> float:
    return arc.get("capacity", math.inf)
