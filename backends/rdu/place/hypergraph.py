"""The nets of a netlist as arrays, for placement: which vertices each joins, and what a hop of it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.rdu.wire.netlist import Netlist, Terminal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LATENCY_BYTES_PER_CYCLE = 64.0
"""Added to every net's demand: distance also costs time where bandwidth is no matter, as on the way of the first tile.
Chosen by the simulated cycles of the examples, which it changes by up to 3 %."""


@dataclass(frozen=True, slots=True)
class Hypergraph:
    """Nets between vertices, of which the first `movable` can be placed and the others stay where they are.

    Net n joins the vertices ends[starts[n]:starts[n + 1]], at least two, and costs weight[n] byte-hops per cycle for
    every hop of its half perimeter. The nets of vertex v are nets[firsts[v]:firsts[v + 1]].
    """

    movable: int
    ends: Ints
    starts: Ints
    weight: Floats
    nets: Ints
    firsts: Ints

    @classmethod
    def of(cls, netlist: Netlist) -> Hypergraph:
        """Units are numbered as in the netlist; AGCUs after all units."""
        weights: dict[tuple[int, ...], float] = {}
        for net in netlist.nets:
            ends = tuple(sorted({_vertex(netlist, end) for end in net.terminals}))
            weights[ends] = weights.get(ends, 0.0) + net.bytes_per_cycle + LATENCY_BYTES_PER_CYCLE
        return cls._joined(weights, len(netlist.units))

    def merged(self, cluster: Ints, clusters: int) -> Hypergraph:
        """The nets between clusters of vertices: `cluster` numbers that of each movable vertex."""
        fixed = np.arange(clusters, clusters + 1 + max(0, int(self.ends.max(initial=0)) - self.movable))
        ends = np.concatenate([cluster, fixed])[self.ends].tolist()
        starts = self.starts.tolist()
        weights: dict[tuple[int, ...], float] = {}
        for first, behind, weight in zip(starts, starts[1:], self.weight.tolist()):
            joined = tuple(sorted(set(ends[first:behind])))
            weights[joined] = weights.get(joined, 0.0) + weight
        return self._joined(weights, clusters)

    @classmethod
    def _joined(cls, weights: Mapping[tuple[int, ...], float], movable: int) -> Hypergraph:
        """One net for each set of ends, of those that are more than one."""
        wide = {joined: weight for joined, weight in weights.items() if len(joined) > 1}
        sizes = np.array([len(joined) for joined in wide], np.int64)
        ends = np.array([end for joined in wide for end in joined], np.int64)
        net = np.repeat(np.arange(len(wide)), sizes)[ends < movable]
        inner = ends[ends < movable]
        return cls(
            movable=movable,
            ends=ends,
            starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            weight=np.array(list(wide.values()), np.float64),
            nets=net[np.argsort(inner, kind="stable")],
            firsts=np.concatenate([[0], np.cumsum(np.bincount(inner, minlength=movable))]).astype(np.int64),
        )

    @property
    def sizes(self) -> Ints:
        """How many ends each net has."""
        return np.diff(self.starts)

    @property
    def mean_weight(self) -> float:
        """What a hop of a net costs, as the ends see it on average."""
        return float(np.average(self.weight, weights=self.sizes)) if self.weight.size else 0.0

    def cost(self, at: Floats) -> float:
        """Half perimeters times weights, summed: `at` has the row and column of every vertex, in hops."""
        if not self.weight.size:
            return 0.0
        spots = at[self.ends]
        span = np.maximum.reduceat(spots, self.starts[:-1]) - np.minimum.reduceat(spots, self.starts[:-1])
        return float((span.sum(axis=1) * self.weight).sum())


def _vertex(netlist: Netlist, end: Terminal) -> int:
    return end.index + (len(netlist.units) if end.is_agcu else 0)
