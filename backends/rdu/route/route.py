"""Routing: a multicast tree on the switch mesh for every net, found by negotiated congestion.

PathFinder (McMurchie and Ebeling, FPGA 1995): nets first take their shortest trees; then those on overloaded links
are taken out and routed again, at prices that rise with the present overload of a link and with its history, until no
link is overloaded or prices stop helping. A path is found by A* (`negotiate.py`). Phases never run at the same time, so
the nets of each phase negotiate among themselves only.

Overloaded, here, is a link that is busy for longer than some net on it allows: a stage that takes a tenth of its
phase's interval for a tile is slowed by a link that is busy for a fifth of it. Only links that are busy for more than
all of the interval slow the whole phase; these alone are reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.rdu.wire.netlist import Net, Netlist, Placement
from pef.machine import Machine

Ints = NDArray[np.int64]

STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Row and column steps of the four links that leave a switch: north, east, south, west."""

LEGAL_LOAD = 1.0 + 1e-9
"""A load over what is allowed up to which a link is legal: sums of demands carry rounding errors."""


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
    for phase in sorted({net.phase for net in netlist.nets}):
        members = [index for index, net in enumerate(netlist.nets) if net.phase == phase]
        demands = _Demands.of([netlist.nets[index] for index in members], placement, machine)
        for index, tree in zip(members, _trees(demands, machine)):
            routes[index] = tuple(tree)
    routing = Routing(tuple(routes), ())
    loads = {key: load / machine.link_bytes_per_cycle for key, load in link_loads(netlist, routing).items()}
    overloads = (Overload(*key, load) for key, load in sorted(loads.items()) if load > LEGAL_LOAD)
    return Routing(routing.routes, tuple(overloads))


@dataclass(frozen=True, slots=True)
class _Demands:
    """The nets of a phase as the router sees them; loads and bounds are parts of a link's capacity.

    sinks: the distinct switches of each net but its source's, one net's after the other's, each net's from near to far:
    a tree grows best outwards from its source. bound: the load that all nets of a link may have together before this
    one is slowed. trunk: row and column of the median of each net's switches.
    """

    source: Ints
    sinks: Ints
    sink_starts: Ints
    load: Ints
    bound: Ints
    trunk: Ints

    @classmethod
    def of(cls, nets: list[Net], placement: Placement, machine: Machine) -> _Demands:
        from backends.rdu.route.negotiate import FULL  # here: numba takes longer to import than many a run

        columns = machine.columns
        source = np.array([placement.site(net.source, machine) for net in nets], np.int64)
        ends = [(number, placement.site(sink, machine)) for number, net in enumerate(nets) for sink in net.sinks]
        net, sinks = np.unique(np.array(ends, np.int64).reshape(-1, 2), axis=0).T
        net, sinks = net[sinks != source[net]], sinks[sinks != source[net]]
        down = np.abs(sinks // columns - source[net] // columns)
        across = np.abs(sinks % columns - source[net] % columns)
        order = np.lexsort((sinks, down + across, net))
        load = np.array([net.bytes_per_cycle / machine.link_bytes_per_cycle for net in nets])
        bound = np.maximum(load, [net.pace for net in nets])
        switches, owners = np.concatenate([source, sinks]), np.concatenate([np.arange(len(nets)), net])
        trunk = np.stack([_medians(owners, switches // columns), _medians(owners, switches % columns)], axis=1)
        starts = np.concatenate([[0], np.cumsum(np.bincount(net, minlength=len(nets)))])
        whole_load, whole_bound = (np.rint(part * FULL).astype(np.int64) for part in (load, bound))
        return cls(source, sinks[order], starts, whole_load, whole_bound, trunk)


def _medians(owners: Ints, values: Ints) -> Ints:
    """The (upper) median of the values of each owner, in order of owners."""
    order = np.lexsort((values, owners))
    counts = np.bincount(owners)
    medians: Ints = values[order][np.cumsum(counts) - counts + counts // 2]
    return medians


def _working_switches(machine: Machine) -> NDArray[np.bool_]:
    working = np.ones(machine.sites, bool)
    working[list(machine.closed_switches())] = False
    return working


def _trees(demands: _Demands, machine: Machine) -> list[list[int]]:
    """The links of every net. The widest nets choose first: they are the hardest to fit."""
    from backends.rdu.route.negotiate import negotiate  # here: numba takes longer to import than many a run

    order = np.argsort(-demands.load, kind="stable")
    counts = np.diff(demands.sink_starts)
    sinks = [demands.sinks[demands.sink_starts[net] : demands.sink_starts[net + 1]] for net in order]
    bounds, rank = np.unique(demands.bound, return_inverse=True)
    starts, links = negotiate(
        machine.rows,
        machine.columns,
        _working_switches(machine),
        demands.source[order],
        np.concatenate(sinks),
        np.concatenate([[0], np.cumsum(counts[order])]),
        demands.load[order],
        rank[order],
        bounds,
        demands.trunk[order],
    )
    trees: list[list[int]] = [[]] * len(order)
    for position, net in enumerate(order.tolist()):
        trees[net] = links[starts[position] : starts[position + 1]].tolist()
    return trees
