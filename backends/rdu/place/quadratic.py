"""Quadratic placement: a first placement that sees all nets at once.

The bound-to-bound net model (Spindler, Schlichtmann and Johannes, TCAD 2008), whose optimum tends to that of the half
perimeter, is solved in turn with legalisation: an assignment to sites that moves least. Pseudo-nets of growing weight
anchor each vertex to its last legal site (SimPL: Kim, Lee and Markov, TCAD 2012), until free and legal placement agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csc_array
from scipy.sparse.linalg import spsolve

from backends.rdu.place.hypergraph import LATENCY_BYTES_PER_CYCLE, Hypergraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SOLVES_BEFORE_ANCHORS = 5
"""Solutions of the net model, each linearised about the one before, until it stands for the half perimeter."""
ITERATIONS = 8
ANCHOR_STEP = 0.03
"""By how much the weight of a vertex's anchor over the weight of its nets grows from one iteration to the next."""
WEAK_PULL = 1e-4
"""Weight, over that of its nets, of a vertex's pull to where it was: what is tied to no AGCU has a place to stay."""
MIN_GAP = 1.0
"""Hops below which springs stop growing stiffer: two vertices are never closer than that."""
POSITION_DIGITS = 6
"""Decimals of a hop kept of a solution, so that rounding errors of the solver do not choose between sites."""


def spread(graph: Hypergraph, at: Floats, kinds: Sequence[tuple[Ints, Ints]], sites: Floats) -> Ints:
    """The site of every movable vertex in the best of the legal placements that solving and legalising run through.

    at: row and column of every vertex, in hops, the movable ones on any sites of their kinds to start from; sites: of
    every site. kinds: vertices of a kind, and the sites that they can have.
    """
    legal, free = at.copy(), at.copy()
    best, best_cost = np.empty(0, np.int64), np.inf
    for _ in range(SOLVES_BEFORE_ANCHORS):
        _solve(graph, free, legal, 0.0)
    for iteration in range(ITERATIONS):
        _solve(graph, free, legal, ANCHOR_STEP * iteration)
        chosen = _legalised(free, kinds, sites, graph.movable)
        legal[: graph.movable] = sites[chosen]
        cost = graph.cost(legal)
        if cost < best_cost:
            best, best_cost = chosen, cost
    return best


def _legalised(free: Floats, kinds: Sequence[tuple[Ints, Ints]], sites: Floats, movable: int) -> Ints:
    """A site of its kind for every vertex, so that all together move least from where they are in `free`."""
    chosen = np.empty(movable, np.int64)
    for members, allowed in kinds:
        down, across = (np.abs(np.subtract.outer(free[members, axis], sites[allowed, axis])) for axis in range(2))
        vertex, site = linear_sum_assignment(down + across)
        chosen[members[vertex]] = allowed[site]
    return chosen


def _solve(graph: Hypergraph, free: Floats, legal: Floats, anchor: float) -> None:
    """Move the vertices in `free` to where their nets, and anchors at their legal places, let them rest."""
    for axis in range(2):
        rest = _rest(graph, free[:, axis], legal[: graph.movable, axis], anchor)
        free[: graph.movable, axis] = np.round(rest, POSITION_DIGITS)


def _rest(graph: Hypergraph, free: Floats, legal: Floats, anchor: float) -> Floats:
    """The minimum of the springs' energy along one axis: linear equations in the positions of the movable vertices."""
    count = graph.movable
    one, other, stiffness = _springs(graph, free)
    one, other = np.concatenate([one, other]), np.concatenate([other, one])
    stiffness = np.concatenate([stiffness, stiffness])
    weights = np.repeat(graph.weight, graph.sizes)
    nets = np.bincount(graph.ends, weights, minlength=len(free))[:count] + LATENCY_BYTES_PER_CYCLE
    hold = nets * (anchor / np.maximum(np.abs(free[:count] - legal), MIN_GAP) + WEAK_PULL)
    mobile = one < count
    diagonal = hold + np.bincount(one[mobile], stiffness[mobile], minlength=count)
    fixed = mobile & (other >= count)
    forces = hold * legal + np.bincount(one[fixed], stiffness[fixed] * free[other[fixed]], minlength=count)
    inner = mobile & (other < count)
    rows, columns = (np.concatenate([np.arange(count), end[inner]]) for end in (one, other))
    matrix = csc_array((np.concatenate([diagonal, -stiffness[inner]]), (rows, columns)), shape=(count, count))
    return np.asarray(spsolve(matrix, forces))


def _springs(graph: Hypergraph, at: Floats) -> tuple[Ints, Ints, Floats]:
    """The bound-to-bound model along one axis: springs from each end of a net to its lowest and its highest one.

    Their energy at `at` is the weighted length of the nets along the axis.
    """
    net = np.repeat(np.arange(len(graph.weight)), graph.sizes)
    vertex = graph.ends[np.lexsort((at[graph.ends], net))]
    low, high = vertex[graph.starts[:-1]][net], vertex[graph.starts[1:] - 1][net]
    to_low, to_high = vertex != low, (vertex != low) & (vertex != high)
    one = np.concatenate([vertex[to_low], vertex[to_high]])
    other = np.concatenate([low[to_low], high[to_high]])
    share = (graph.weight / (graph.sizes - 1))[net]
    weight = np.concatenate([share[to_low], share[to_high]])
    return one, other, weight / np.maximum(np.abs(at[one] - at[other]), MIN_GAP)
