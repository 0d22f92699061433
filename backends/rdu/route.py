"""Routing: a multicast tree on the switch mesh for every net, found by negotiated congestion.

PathFinder (McMurchie and Ebeling, FPGA 1995): nets first take their shortest trees; then those on overloaded links
are taken out and routed again, at prices that rise with the present overload of a link and with its history, until no
link is overloaded or prices stop helping. A path is found by A*. Phases never run at the same time, so the nets of
each phase negotiate among themselves only.

Overloaded, here, is a link that is busy for longer than some net on it allows: a stage that takes a tenth of its
phase's interval for a tile is slowed by a link that is busy for a fifth of it. Only links that are busy for more than
all of the interval slow the whole phase; these alone are reported.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from backends.rdu.netlist import Netlist, Placement
from pef.machine import Machine

STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Row and column steps of the four links that leave a switch: north, east, south, west."""

MAX_ITERATIONS = 40
PATIENCE = 4
PROGRESS = 0.9
"""`PATIENCE` iterations that do not each bring the overload below this fraction of the least so far end negotiation."""

FIRST_PRESENT_FACTOR = 1.0
PRESENT_GROWTH = 1.7
MAX_PRESENT_FACTOR = 1e3
HISTORY_FACTOR = 0.5
TRUNK_PULL = 1e-4
"""Hops a multicast pays per hop away from the median of its ends: among equal paths, one that its branches share."""
DEPTH_PRICE = 1.0
"""Hops a branch pays per hop between the source and where it leaves the tree: what counts is when the last sink has
the data."""
LEGAL_LOAD = 1.0 + 1e-9
"""A load over what is allowed up to which a link is legal: sums of demands carry rounding errors."""
FREE = 1e300
"""What a link without nets may carry."""


@dataclass(frozen=True, slots=True)
class Overload:
    """A link that has to carry more than it can: `load` is bytes per cycle over capacity, above 1."""

    phase: int
    link: int
    load: float


@dataclass(frozen=True, slots=True)
class Routing:
    """For each net, the directed links of its tree, each after the one that feeds it; and the links that overflow.

    Link `4 * switch + direction` leaves `switch` to the north, east, south or west (0 to 3); see `link_ends`.
    """

    routes: tuple[tuple[int, ...], ...]
    overloads: tuple[Overload, ...]


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How much of the mesh a routing uses: links of each phase counted apart, loads as fractions of capacity."""

    byte_hops_per_cycle: float
    links: int
    mean_load: float
    peak_load: float
    overloads: int


def link_ends(link: int, machine: Machine) -> tuple[int, int]:
    """The switches a link leaves and enters."""
    switch, direction = divmod(link, 4)
    down, across = STEPS[direction]
    return switch, switch + down * machine.columns + across


def link_loads(netlist: Netlist, routing: Routing) -> dict[tuple[int, int], float]:
    """Bytes per cycle on every (phase, link) that carries anything."""
    loads: dict[tuple[int, int], float] = {}
    for net, links in zip(netlist.nets, routing.routes):
        for link in links:
            key = (net.phase, link)
            loads[key] = loads.get(key, 0.0) + net.bytes_per_cycle
    return loads


def utilisation(netlist: Netlist, routing: Routing, machine: Machine) -> Utilisation:
    """A summary of the loads of a routing."""
    loads = link_loads(netlist, routing).values()
    return Utilisation(
        byte_hops_per_cycle=sum(loads),
        links=len(loads),
        mean_load=sum(loads) / machine.link_bytes_per_cycle / max(1, len(loads)),
        peak_load=max(loads, default=0.0) / machine.link_bytes_per_cycle,
        overloads=len(routing.overloads),
    )


def route(netlist: Netlist, placement: Placement, machine: Machine) -> Routing:
    """Route every net of a placed netlist. What no routing found can carry is reported in the result, not raised."""
    routes: list[tuple[int, ...]] = [()] * len(netlist.nets)
    overloads: list[Overload] = []
    for phase in sorted({net.phase for net in netlist.nets}):
        members = [index for index, net in enumerate(netlist.nets) if net.phase == phase]
        demands = [_demand(netlist, placement, machine, index) for index in members]
        trees, loads = _Negotiation(machine, demands).run()
        for index, tree in zip(members, trees):
            routes[index] = tuple(tree)
        overloads += [Overload(phase, link, load) for link, load in enumerate(loads) if load > LEGAL_LOAD]
    return Routing(tuple(routes), tuple(overloads))


@dataclass(frozen=True, slots=True)
class _Demand:
    """A net as the router sees it: the switches it joins, its share of a link's capacity, and the share that all nets
    of a link may have together before it is slowed."""

    source: int
    sinks: tuple[int, ...]
    load: float
    bound: float
    trunk_row: int
    trunk_column: int


def _demand(netlist: Netlist, placement: Placement, machine: Machine, index: int) -> _Demand:
    """Net `index`, with its distinct sinks from near to far: a tree grows best outwards from its source."""
    net = netlist.nets[index]
    source = placement.site(net.source, machine)
    sinks = {placement.site(sink, machine) for sink in net.sinks} - {source}
    near_to_far = sorted(sinks, key=lambda sink: (_distance(source, sink, machine.columns), sink))
    rows, columns = zip(*(divmod(site, machine.columns) for site in (source, *near_to_far)))
    load = net.bytes_per_cycle / machine.link_bytes_per_cycle
    return _Demand(
        source=source,
        sinks=tuple(near_to_far),
        load=load,
        bound=max(load, net.pace),
        trunk_row=sorted(rows)[len(rows) // 2],
        trunk_column=sorted(columns)[len(columns) // 2],
    )


def _distance(a: int, b: int, columns: int) -> int:
    """Hops between two switches."""
    return abs(a // columns - b // columns) + abs(a % columns - b % columns)


class _Negotiation:
    """The nets of one phase, competing for links. Loads and demands are fractions of a link's capacity."""

    def __init__(self, machine: Machine, demands: Sequence[_Demand]) -> None:
        self.demands = demands
        self.trees: list[list[int]] = [[] for _ in demands]
        mesh = _mesh(machine)
        self.exits, self.entered, self.row, self.column = mesh.exits, mesh.entered, mesh.row, mesh.column
        self.load = [0.0] * (4 * machine.sites)
        self.bound = [FREE] * (4 * machine.sites)
        self.users: list[list[int]] = [[] for _ in self.load]
        self.price = [1.0] * (4 * machine.sites)
        self.present_factor = FIRST_PRESENT_FACTOR

    def run(self) -> tuple[list[list[int]], list[float]]:
        """The least overloaded trees found, and the loads of all links under them."""
        self._route(self._widest_first(range(len(self.demands))))
        stale, best, best_trees, best_loads = 0, self._overload(), list(self.trees), list(self.load)
        for _ in range(MAX_ITERATIONS):
            if best == 0.0 or stale == PATIENCE:
                break
            self._raise_prices()
            self._route(self._widest_first(self._congested()))
            overload = self._overload()
            stale = 0 if overload < PROGRESS * best else stale + 1
            if overload < best:
                best, best_trees, best_loads = overload, list(self.trees), list(self.load)
        return best_trees, best_loads

    def _route(self, members: Iterable[int]) -> None:
        """Route nets one after the other, each without its former tree and at the prices the others leave."""
        for member in members:
            for link in self.trees[member]:
                self._take_off(member, link)
            demand = self.demands[member]
            self.trees[member] = self._grow(demand)
            for link in self.trees[member]:
                self.users[link].append(member)
                self.load[link] += demand.load
                self.bound[link] = min(self.bound[link], demand.bound)

    def _widest_first(self, members: Iterable[int]) -> list[int]:
        """Nets in order of demand: what is hard to fit chooses first."""
        return sorted(members, key=lambda member: (-self.demands[member].load, member))

    def _take_off(self, member: int, link: int) -> None:
        """Sum up what is left, rather than subtract: rounding errors would add up."""
        self.users[link].remove(member)
        users = [self.demands[user] for user in self.users[link]]
        self.load[link] = sum(demand.load for demand in users)
        self.bound[link] = min((demand.bound for demand in users), default=FREE)

    def _overload(self) -> float:
        """How far all links together are over their bounds."""
        return sum(self.load[link] - self.bound[link] for link in self._overloaded())

    def _overloaded(self) -> list[int]:
        return [link for link, load in enumerate(self.load) if load > self.bound[link] * LEGAL_LOAD]

    def _congested(self) -> set[int]:
        """The nets that use an overloaded link."""
        return {member for link in self._overloaded() for member in self.users[link]}

    def _raise_prices(self) -> None:
        self.present_factor = min(self.present_factor * PRESENT_GROWTH, MAX_PRESENT_FACTOR)
        for link in self._overloaded():
            self.price[link] += HISTORY_FACTOR * (self.load[link] - self.bound[link])

    def _grow(self, demand: _Demand) -> list[int]:
        """The links of a tree from the source to all sinks, grown sink by sink."""
        depth = {demand.source: 0}
        tree: list[int] = []
        for sink in demand.sinks:
            if sink not in depth:
                for link in self._path(depth, sink, demand):
                    tree.append(link)
                    depth[self.entered[link]] = depth[link // 4] + 1
        return tree

    def _path(self, depth: Mapping[int, int], target: int, demand: _Demand) -> list[int]:
        """The cheapest path to `target` from any switch of a tree, given with their `depth` in it, by A*.

        A link costs at least 1, so the hops that remain never exceed what remains to be paid: the bound is consistent
        and no switch is expanded twice. Among equals the switch closest to the target goes first.
        """
        row, column, entered = self.row, self.column, self.entered
        load, bound, price = self.load, self.bound, self.price
        target_row, target_column = row[target], column[target]
        own_load, own_bound, present_factor = demand.load, demand.bound, self.present_factor
        pull = TRUNK_PULL if len(demand.sinks) > 1 else 0.0
        trunk_row, trunk_column = demand.trunk_row, demand.trunk_column
        paid = {switch: DEPTH_PRICE * hops for switch, hops in depth.items()}
        via: dict[int, int] = {}
        done: set[int] = set()
        hops = [abs(row[start] - target_row) + abs(column[start] - target_column) for start in paid]
        frontier = [(paid[start] + left, left, start) for left, start in zip(hops, paid)]
        heapify(frontier)
        while True:
            switch = heappop(frontier)[2]
            if switch == target:
                return _walk_back(via, target)
            if switch in done:
                continue
            done.add(switch)
            paid_here = paid[switch]
            for link in self.exits[switch]:
                cost = paid_here + price[link]
                excess = load[link] + own_load - (own_bound if own_bound < bound[link] else bound[link])
                if excess > 0.0:
                    cost += price[link] * excess * present_factor
                neighbour = entered[link]
                if pull:
                    cost += pull * (abs(row[neighbour] - trunk_row) + abs(column[neighbour] - trunk_column))
                if cost < paid.get(neighbour, 1e300) and neighbour not in depth:
                    paid[neighbour] = cost
                    via[neighbour] = link
                    left = abs(row[neighbour] - target_row) + abs(column[neighbour] - target_column)
                    heappush(frontier, (cost + left, left, neighbour))


def _walk_back(via: dict[int, int], target: int) -> list[int]:
    """The path that ends in `target`, from its start on."""
    path = []
    switch = target
    while switch in via:
        path.append(via[switch])
        switch = via[switch] // 4
    path.reverse()
    return path


@dataclass(frozen=True, slots=True)
class _Mesh:
    """The switch mesh as flat tables: the links that leave each switch, the switch each link enters, coordinates."""

    exits: tuple[tuple[int, ...], ...]
    entered: tuple[int, ...]
    row: tuple[int, ...]
    column: tuple[int, ...]


@functools.cache
def _mesh(machine: Machine) -> _Mesh:
    exits = []
    for site in range(machine.sites):
        row, column = divmod(site, machine.columns)
        within = (row > 0, column + 1 < machine.columns, row + 1 < machine.rows, column > 0)
        exits.append(tuple(4 * site + direction for direction in range(4) if within[direction]))
    return _Mesh(
        exits=tuple(exits),
        entered=tuple(link_ends(link, machine)[1] for link in range(4 * machine.sites)),
        row=tuple(site // machine.columns for site in range(machine.sites)),
        column=tuple(site % machine.columns for site in range(machine.sites)),
    )
