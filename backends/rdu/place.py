"""Placement: a site of the right kind for every unit, so that heavy nets are short.

The measure is the half perimeter of a net's bounding box times its demand. Two steps work on it:

1. Global: quadratic placement with the bound-to-bound net model (Spindler, Schlichtmann and Johannes, TCAD 2008), whose
   optimum tends to that of the half perimeter, in turn with legalisation: an assignment of units to sites that moves
   them least. Pseudo-nets of growing weight anchor each unit to its last legal site (SimPL: Kim, Lee and Markov,
   TCAD 2012), until the free and the legal placement agree.
2. Detailed: units of one kind that share no net can be exchanged, and moved to free sites, at a cost that is a sum over
   units; the best such exchange is an assignment problem, solved exactly (NTUplace3: Chen et al., TCAD 2008). Seeded
   random sets of such units are exchanged, at first with noise on the costs that falls as in simulated annealing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csc_array
from scipy.sparse.linalg import spsolve

from backends.rdu.netlist import Netlist, Placement, Terminal
from ir.errors import InfeasibleError, Problem
from pef.machine import Machine, SiteKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LATENCY_BYTES_PER_CYCLE = 64.0
"""Added to every net's demand: distance also costs time where bandwidth is no matter, as on the way of the first tile.
Chosen by the simulated cycles of the examples, which it changes by up to 3 %."""

SOLVES_BEFORE_ANCHORS = 5
"""Solutions of the net model, each linearised about the one before, until it stands for the half perimeter."""
GLOBAL_ITERATIONS = 8
ANCHOR_STEP = 0.03
"""By how much the weight of a unit's anchor over the weight of its nets grows from one iteration to the next."""
WEAK_PULL = 1e-4
"""Weight, over that of its nets, of a unit's pull to where it was: what is tied to no AGCU has a place to stay."""
MIN_GAP = 1.0
"""Hops below which springs stop growing stiffer: two units are never closer than that."""
POSITION_DIGITS = 6
"""Decimals of a hop kept of a solution, so that rounding errors of the solver do not choose between sites."""

ANNEALING_SWEEPS = 32
HOTTEST = 0.8
"""First temperature of annealing, over the mean weight of a pin."""
PATIENCE = 3
MIN_GAIN = 1e-3
"""Placement ends after `PATIENCE` sweeps that each gain less than this fraction."""


def place(netlist: Netlist, machine: Machine, seed: int = 0) -> Placement:
    """Place every unit of a netlist on a working site of its kind, no two on one.

    The same arguments give the same placement. Raises `InfeasibleError` if there are more units than sites.
    """
    _check_room(netlist, machine)
    if not netlist.units:
        return Placement(())
    board = _Board(netlist, machine)
    _place_globally(board)
    _improve(board, np.random.default_rng(seed))
    return Placement(tuple(int(site) for site in board.sites))


def _check_room(netlist: Netlist, machine: Machine) -> None:
    problems = []
    for kind in SiteKind:
        needed, there = sum(unit.kind is kind for unit in netlist.units), len(machine.working_sites(kind))
        if needed > there:
            message = f"a section needs {needed} {kind.value.upper()}s; {machine.name} has {there}"
            problems.append(Problem(message, hint="smaller tiles, fewer units per stage, or more sections"))
    InfeasibleError.raise_if(problems)


@dataclass(frozen=True, slots=True)
class _Pins:
    """The ends of all nets, sorted by net. A vertex is a unit or, numbered after all units, an AGCU."""

    vertex: Ints
    net: Ints
    weight: Floats
    """Of the pin's net: its demand, in bytes per cycle, and a little more."""
    starts: Ints
    """For each net, where its pins start."""
    sizes: Ints
    """For each net, how many pins it has: at least 2."""

    @classmethod
    def of(cls, netlist: Netlist) -> _Pins:
        """The pins of the nets that join at least two vertices."""
        vertices = [list(dict.fromkeys(_vertex(netlist, end) for end in net.terminals)) for net in netlist.nets]
        demands = np.array([net.bytes_per_cycle + LATENCY_BYTES_PER_CYCLE for net in netlist.nets])
        wide = [index for index, ends in enumerate(vertices) if len(ends) > 1]
        sizes = np.array([len(vertices[index]) for index in wide], np.int64)
        return cls(
            vertex=np.array([vertex for index in wide for vertex in vertices[index]], np.int64),
            net=np.repeat(np.arange(len(wide)), sizes),
            weight=np.repeat(demands[wide], sizes),
            starts=np.cumsum(sizes) - sizes,
            sizes=sizes,
        )


def _vertex(netlist: Netlist, end: Terminal) -> int:
    return end.index + (len(netlist.units) if end.is_agcu else 0)


class _Board:
    """The problem in arrays, and the placement as it stands: `sites` of the units, and where all vertices are."""

    def __init__(self, netlist: Netlist, machine: Machine) -> None:
        self.pins = _Pins.of(netlist)
        self.units = len(netlist.units)
        self.members = {kind: _indices(unit.kind is kind for unit in netlist.units) for kind in SiteKind}
        self.working = {kind: np.array(machine.working_sites(kind), np.int64) for kind in SiteKind}
        self.place_of_site = np.stack(np.divmod(np.arange(machine.sites), machine.columns), axis=1).astype(float)
        self.size = (machine.rows, machine.columns)
        self.sites = np.full(self.units, -1)
        agcus = self.place_of_site[np.array(machine.agcu_sites, np.int64)]
        self.at = np.concatenate([np.zeros((self.units, 2)), agcus])

    def settle(self, units: Ints, sites: Ints) -> None:
        """Put `units` on `sites`."""
        self.sites[units] = sites
        self.at[units] = self.place_of_site[sites]

    def cost(self) -> float:
        """Half perimeters times weights, summed: the measure of the placement, in byte-hops per cycle."""
        if not self.pins.net.size:
            return 0.0
        at = self.at[self.pins.vertex]
        span = np.maximum.reduceat(at, self.pins.starts) - np.minimum.reduceat(at, self.pins.starts)
        return float((span.sum(axis=1) * self.pins.weight[self.pins.starts]).sum())


def _indices(mask: Iterable[bool]) -> Ints:
    return np.flatnonzero(np.fromiter(mask, bool))


# ---- global placement


def _place_globally(board: _Board) -> None:
    """Leave the best of the legal placements that solving and legalising in turn run through."""
    _lay_out_in_order(board)
    best_cost, best_sites = board.cost(), board.sites.copy()
    free = board.at.copy()
    for _ in range(SOLVES_BEFORE_ANCHORS):
        _solve(board, free, 0.0)
    for iteration in range(GLOBAL_ITERATIONS):
        _solve(board, free, ANCHOR_STEP * iteration)
        _legalise(board, free)
        cost = board.cost()
        if cost < best_cost:
            best_cost, best_sites = cost, board.sites.copy()
    board.settle(np.arange(board.units), best_sites)


def _lay_out_in_order(board: _Board) -> None:
    """A first legal placement: along rows to and fro in the netlist's order, where neighbours tend to talk."""
    for kind, members in board.members.items():
        rows, columns = board.place_of_site[board.working[kind]].T
        order = np.lexsort((np.where(rows % 2 == 0, columns, -columns), rows))
        board.settle(members, board.working[kind][order][: len(members)])


def _solve(board: _Board, free: Floats, anchor: float) -> None:
    """Move the units in `free` to where their nets, and anchors at their legal places, let them rest."""
    for axis in range(2):
        rest = _rest(board, free[:, axis], board.at[: board.units, axis], anchor)
        free[: board.units, axis] = np.round(rest, POSITION_DIGITS)


def _rest(board: _Board, free: Floats, legal: Floats, anchor: float) -> Floats:
    """The minimum of the springs' energy along one axis: linear equations in the positions of the units."""
    units = board.units
    one, other, stiffness = _springs(board.pins, free)
    one, other = np.concatenate([one, other]), np.concatenate([other, one])
    stiffness = np.concatenate([stiffness, stiffness])
    nets = np.bincount(board.pins.vertex, board.pins.weight, minlength=len(free))[:units] + LATENCY_BYTES_PER_CYCLE
    hold = nets * (anchor / np.maximum(np.abs(free[:units] - legal), MIN_GAP) + WEAK_PULL)
    mobile = one < units
    diagonal = hold + np.bincount(one[mobile], stiffness[mobile], minlength=units)
    fixed = mobile & (other >= units)
    forces = hold * legal + np.bincount(one[fixed], stiffness[fixed] * free[other[fixed]], minlength=units)
    inner = mobile & (other < units)
    rows, columns = (np.concatenate([np.arange(units), end[inner]]) for end in (one, other))
    matrix = csc_array((np.concatenate([diagonal, -stiffness[inner]]), (rows, columns)), shape=(units, units))
    return np.asarray(spsolve(matrix, forces))


def _springs(pins: _Pins, at: Floats) -> tuple[Ints, Ints, Floats]:
    """The bound-to-bound model along one axis: springs from each pin of a net to its lowest and its highest one.

    Their energy at `at` is the weighted length of the nets along the axis.
    """
    order = np.lexsort((at[pins.vertex], pins.net))
    vertex = pins.vertex[order]
    low = np.repeat(vertex[pins.starts], pins.sizes)
    high = np.repeat(vertex[pins.starts + pins.sizes - 1], pins.sizes)
    to_low, to_high = vertex != low, (vertex != low) & (vertex != high)
    one = np.concatenate([vertex[to_low], vertex[to_high]])
    other = np.concatenate([low[to_low], high[to_high]])
    share = pins.weight / np.repeat(pins.sizes - 1, pins.sizes)
    weight = np.concatenate([share[to_low], share[to_high]])
    return one, other, weight / np.maximum(np.abs(at[one] - at[other]), MIN_GAP)


def _legalise(board: _Board, free: Floats) -> None:
    """Put every unit on a site of its kind so that all together move least from where they are in `free`."""
    for kind, members in board.members.items():
        sites = board.working[kind]
        down, across = (np.abs(free[members, axis, None] - np.arange(board.size[axis])) for axis in range(2))
        row, column = board.place_of_site[sites].astype(np.int64).T
        chosen, best = linear_sum_assignment(down[:, row] + across[:, column])
        board.settle(members[chosen], sites[best])


# ---- detailed placement


def _improve(board: _Board, random: np.random.Generator) -> None:
    """Exchange units, set by set: first with falling noise, to leave local optima, then until it stops helping."""
    neighbours = _neighbours(board)
    hottest = HOTTEST * float(np.mean(board.pins.weight)) if board.pins.weight.size else 0.0
    for sweep in range(ANNEALING_SWEEPS):
        _sweep(board, neighbours, hottest * (1 - sweep / ANNEALING_SWEEPS), random)
    cost, stale = board.cost(), 0
    while stale < PATIENCE:
        _sweep(board, neighbours, 0.0, random)
        before, cost = cost, board.cost()
        stale = stale + 1 if cost >= before * (1 - MIN_GAIN) else 0


def _sweep(board: _Board, neighbours: Sequence[set[int]], temperature: float, random: np.random.Generator) -> None:
    """Offer every unit an exchange."""
    for kind, members in board.members.items():
        for independent in _independent_sets(members, neighbours, random):
            _exchange(board, kind, independent, temperature, random)


def _neighbours(board: _Board) -> list[set[int]]:
    """For each unit, those it shares a net with."""
    neighbours: list[set[int]] = [set() for _ in range(board.units)]
    for ends in np.split(board.pins.vertex, board.pins.starts[1:]):
        units = {int(vertex) for vertex in ends if vertex < board.units}
        for unit in units:
            neighbours[unit] |= units
    return neighbours


def _independent_sets(members: Ints, neighbours: Sequence[set[int]], random: np.random.Generator) -> Iterator[Ints]:
    """Cut `members` into random sets without two that share a net: each joins the first set that has none of its."""
    sets: list[set[int]] = []
    for member in random.permutation(members).tolist():
        home = next((candidate for candidate in sets if candidate.isdisjoint(neighbours[member])), None)
        if home is None:
            sets.append({member})
        else:
            home.add(member)
    return (np.array(sorted(independent), np.int64) for independent in sets)


def _exchange(board: _Board, kind: SiteKind, units: Ints, temperature: float, random: np.random.Generator) -> None:
    """Put `units`, which share no net, on the best of their own and all free sites of their kind.

    Gumbel noise on the costs makes the choice of a single unit a draw from the Boltzmann distribution at
    `temperature`, in byte-hops per cycle (perturb-and-MAP: Papandreou and Yuille, ICCV 2011).
    """
    taken = np.zeros(len(board.place_of_site), bool)
    taken[board.sites] = True
    taken[board.sites[units]] = False
    sites = board.working[kind][~taken[board.working[kind]]]
    row, column = board.place_of_site[sites].astype(np.int64).T
    costs = _costs_along(board, units, 0)[:, row] + _costs_along(board, units, 1)[:, column]
    if temperature:
        costs += temperature * np.log(random.standard_exponential(costs.shape) + np.finfo(np.float64).tiny)
    chosen, best = linear_sum_assignment(costs)
    board.settle(units[chosen], sites[best])


def _costs_along(board: _Board, units: Ints, axis: int) -> Floats:
    """For each of `units` and each coordinate of an axis, what its nets would grow by if it were there."""
    row = np.full(len(board.at), -1)
    row[units] = np.arange(len(units))
    owner = row[board.pins.vertex]
    owned = np.flatnonzero(owner >= 0)
    at = board.at[board.pins.vertex, axis]
    low = np.minimum.reduceat(np.where(owner < 0, at, np.inf), board.pins.starts)[board.pins.net[owned], None]
    high = np.maximum.reduceat(np.where(owner < 0, at, -np.inf), board.pins.starts)[board.pins.net[owned], None]
    coordinate = np.arange(board.size[axis])
    growth = np.maximum(coordinate - high, 0.0) + np.maximum(low - coordinate, 0.0)
    entry = owner[owned, None] * len(coordinate) + coordinate
    weighted = growth * board.pins.weight[owned, None]
    costs = np.bincount(entry.ravel(), weighted.ravel(), minlength=len(units) * len(coordinate))
    return costs.astype(np.float64).reshape(len(units), len(coordinate))
