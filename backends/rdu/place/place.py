"""Placement: a site of the right kind for every unit, so that heavy nets are short.

The measure is the half perimeter of a net's bounding box times its demand. Units of a stage or of a buffer are copies
of one another, so large netlists are placed twice. First clusters of `CLUSTER` successive units of a kind, on a board
whose sites are halves of squares of the real one: by quadratic placement (`quadratic.py`), which sees the whole, then
by annealing (`anneal.py`). Then units, by annealing from where their clusters are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.rdu.place.hypergraph import Hypergraph
from backends.rdu.wire.netlist import Netlist, Placement
from ir.errors import InfeasibleError, Problem
from pef.machine import Machine, SiteKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 4
"""Sites along each side of a square that is one place for a cluster of PCUs and one for a cluster of PMUs."""
CLUSTER = SIDE * SIDE // 2
CLUSTERED_FROM = 256
"""Units from which clusters are placed first; below, quadratic placement of the units themselves is as quick."""

LEAST_MOVES = 100_000
"""Moves even for the smallest netlists: some hundredths of a second."""
NEAR = 0.4
"""The share of annealing's moves that go beside another end of a net of the unit."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a board is annealed: moves per vertex in all, temperatures from `hottest` to `coldest` over the mean weight
    of an end, and the half side of the first window."""

    moves: int
    temperatures: int
    hottest: float
    coldest: float
    window: float


CLUSTERS = Schedule(moves=3000, temperatures=40, hottest=12.0, coldest=0.2, window=6.0)
UNITS = Schedule(moves=1250, temperatures=60, hottest=25.0, coldest=0.1, window=8.0)


def place(netlist: Netlist, machine: Machine, seed: int = 0) -> Placement:
    """Place every unit of a netlist on a working site of its kind, no two on one.

    The same arguments give the same placement. Raises `InfeasibleError` if there are more units than sites.
    """
    _check_room(netlist, machine)
    if not netlist.units:
        return Placement(())
    board = Board.of(netlist, machine)
    if len(netlist.units) < CLUSTERED_FROM:
        board.spread()
    else:
        clusters, cluster_of = board.clustered()
        clusters.spread()
        clusters.anneal(CLUSTERS, seed)
        board.expand(clusters, cluster_of)
    board.anneal(UNITS, seed)
    rows, columns = board.at[: len(netlist.units)].T
    return Placement(tuple((rows * machine.columns + columns).tolist()))


def _check_room(netlist: Netlist, machine: Machine) -> None:
    problems = []
    for kind in SiteKind:
        needed, there = sum(unit.kind is kind for unit in netlist.units), len(machine.working_sites(kind))
        if needed > there:
            message = f"a section needs {needed} {kind.value.upper()}s; {machine.name} has {there}"
            problems.append(Problem(message, hint="smaller tiles, fewer units per stage, or more sections"))
    InfeasibleError.raise_if(problems)


@dataclass(slots=True)
class Board:
    """A grid of sites, PCUs where row + column is even and PMUs where it is odd, and what is placed on it.

    graph: the nets; odd: 1 for each movable vertex that takes a PMU's site, 0 for a PCU's. working: by row and column,
    whether a site can be used. steps: hops from a row to the next, and from a column. at: row and column of every
    vertex, the fixed ones behind the movable.
    """

    graph: Hypergraph
    odd: Ints
    working: NDArray[np.bool_]
    steps: Ints
    at: Ints

    @classmethod
    def of(cls, netlist: Netlist, machine: Machine) -> Board:
        """The machine's own grid, with units laid out in order: no net has been looked at."""
        working = np.ones(machine.sites, bool)
        working[list(machine.faulty_sites)] = False
        agcus = np.stack(np.divmod(np.array(machine.agcu_sites, np.int64), machine.columns), axis=1)
        board = cls(
            graph=Hypergraph.of(netlist),
            odd=np.array([unit.kind is SiteKind.PMU for unit in netlist.units], np.int64),
            working=working.reshape(machine.rows, machine.columns),
            steps=np.ones(2, np.int64),
            at=np.concatenate([np.zeros((len(netlist.units), 2), np.int64), agcus]),
        )
        board._lay_out()
        return board

    def _lay_out(self) -> None:
        """Put vertices on sites along rows to and fro, in their order, where neighbours tend to talk."""
        for members, sites in self._kinds():
            row, column = np.divmod(sites, self.working.shape[1])
            order = np.lexsort((np.where(row % 2 == 0, column, -column), row))[: len(members)]
            self.at[members] = np.stack([row[order], column[order]], axis=1)

    def _kinds(self) -> list[tuple[Ints, Ints]]:
        """The vertices and the sites of each kind."""
        rows, columns = np.indices(self.working.shape)
        parity = (rows + columns) % 2
        return [(np.flatnonzero(self.odd == p), np.flatnonzero(self.working & (parity == p))) for p in range(2)]

    def spread(self) -> None:
        """Place by looking at all nets at once."""
        from backends.rdu.place.quadratic import spread  # here: SciPy takes longer to import than many a run

        sites = np.stack(np.divmod(np.arange(self.working.size), self.working.shape[1]), axis=1)
        chosen = spread(self.graph, self.at * self.steps.astype(float), self._kinds(), sites * self.steps.astype(float))
        self.at[: self.graph.movable] = sites[chosen]

    def anneal(self, schedule: Schedule, seed: int) -> None:
        """Improve the placement by exchanges."""
        from backends.rdu.place.anneal import anneal  # here: numba takes longer to import than many a run

        graph, count = self.graph, self.graph.movable
        occupant = np.where(self.working, -1, -2)
        occupant[self.at[:count, 0], self.at[:count, 1]] = np.arange(count)
        temperatures = np.geomspace(schedule.hottest, schedule.coldest, schedule.temperatures)
        moves = -(-max(LEAST_MOVES, schedule.moves * count) // schedule.temperatures)
        anneal(
            self.at, occupant, graph.nets, graph.firsts, graph.ends, graph.starts, graph.weight, self.steps,
            temperatures * graph.mean_weight, moves, NEAR, schedule.window, seed,
        )  # fmt: skip

    def clustered(self) -> tuple[Board, Ints]:
        """A coarser board for clusters of successive units, and the cluster of every unit.

        Each square of the grid is two sites, side by side: one for a cluster of PCUs, one for a cluster of PMUs.
        """
        cluster_of = np.empty(self.graph.movable, np.int64)
        odd: list[int] = []
        for parity in range(2):
            members = np.flatnonzero(self.odd == parity)
            cluster_of[members] = len(odd) + np.arange(len(members)) // CLUSTER
            odd += [parity] * -(-len(members) // CLUSTER)
        rows, columns = (-(-size // SIDE) for size in self.working.shape)
        fixed = self.at[self.graph.movable :] // (SIDE, SIDE // 2)
        board = Board(
            graph=self.graph.merged(cluster_of, len(odd)),
            odd=np.array(odd, np.int64),
            working=np.ones((rows, 2 * columns), bool),
            steps=np.array([SIDE, SIDE // 2], np.int64),
            at=np.concatenate([np.zeros((len(odd), 2), np.int64), fixed]),
        )
        board._lay_out()
        return board, cluster_of

    def expand(self, clusters: Board, cluster_of: Ints) -> None:
        """Put the units of every cluster in its square, and what has no room there, as near as can be."""
        columns = self.working.shape[1]
        for members, sites in self._kinds():
            row, column = np.divmod(sites, columns)
            square = row // SIDE * clusters.working.shape[1] + column // SIDE
            by_square = {int(key): list(group) for key, group in _grouped(square, sites)}
            late = []
            for unit, cluster in zip(members.tolist(), cluster_of[members].tolist()):
                home = clusters.at[cluster] // (1, 2)
                room = by_square.get(int(home[0] * clusters.working.shape[1] + home[1]), [])
                if room:
                    self.at[unit] = divmod(room.pop(0), columns)
                else:
                    late.append((unit, home * SIDE + SIDE // 2))
            left = np.array([site for room in by_square.values() for site in room], np.int64)
            for unit, wanted in late:
                spots = np.stack(np.divmod(left, columns), axis=1)
                nearest = int(np.abs(spots - wanted).sum(axis=1).argmin())
                self.at[unit] = spots[nearest]
                left = np.delete(left, nearest)


def _grouped(keys: Ints, values: Ints) -> Iterable[tuple[int, list[int]]]:
    """Values by key, in order of both."""
    pairs = sorted(zip(keys.tolist(), values.tolist()))
    return ((key, [value for _, value in group]) for key, group in itertools.groupby(pairs, key=lambda pair: pair[0]))
