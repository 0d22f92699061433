"""Routing: every net a tree of links between neighbours, and congestion spread as far as capacity allows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.rdu.machine import load_machine
from backends.rdu.place.place import place
from backends.rdu.route.route import Routing, link_ends, link_loads, route, utilisation
from backends.rdu.wire.netlist import Netlist, Placement, wire_length
from pef.machine import Machine
from tests.backends.netlists import chain, grid, pipeline, units, wire
from tests.backends.test_place import netlists, random_placement


def check_trees(netlist: Netlist, placement: Placement, routing: Routing, machine: Machine) -> None:
    """Each route starts at its source, enters every switch once, from one entered before, and reaches every sink."""
    assert len(routing.routes) == len(netlist.nets)
    for net, links in zip(netlist.nets, routing.routes):
        entered = [placement.site(net.source, machine)]
        for link in links:
            start, end = link_ends(link, machine)
            assert 0 <= end < machine.sites
            distance = abs(start // machine.columns - end // machine.columns)
            distance += abs(start % machine.columns - end % machine.columns)
            assert distance == 1
            assert start in entered
            assert end not in entered
            entered.append(end)
        sinks = {placement.site(sink, machine) for sink in net.sinks}
        assert sinks <= set(entered)
        leaves = set(entered) - {link_ends(link, machine)[0] for link in links}
        assert leaves <= sinks | {entered[0]}


def check_overloads(netlist: Netlist, routing: Routing, machine: Machine) -> None:
    """The reported overloads are those that the routes add up to."""
    loads = {key: load / machine.link_bytes_per_cycle for key, load in link_loads(netlist, routing).items()}
    over = {key for key, load in loads.items() if load > 1 + 1e-6}
    assert {(overload.phase, overload.link) for overload in routing.overloads} == over
    for overload in routing.overloads:
        assert overload.load == pytest.approx(loads[overload.phase, overload.link])


@given(netlists(), st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_any_placed_netlist_is_routed_as_trees(netlist: Netlist, seed: int) -> None:
    machine = grid(6, 8, faulty=(3, 20), agcus=(0, 7, 24, 47))
    placement = random_placement(netlist, machine, seed)
    routing = route(netlist, placement, machine)
    check_trees(netlist, placement, routing, machine)
    check_overloads(netlist, routing, machine)


def test_a_lone_net_takes_a_shortest_path() -> None:
    machine = grid(8, 8)
    netlist = Netlist(units("cm"), (wire(0, 1),))
    placement = Placement((0, 62))
    (links,) = route(netlist, placement, machine).routes
    assert len(links) == 13
    assert utilisation(netlist, Routing((links,), ()), machine).byte_hops_per_cycle == wire_length(
        netlist, placement, machine
    )


def test_a_multicast_shares_its_trunk() -> None:
    machine = grid(3, 9)
    netlist = Netlist(units("cmm"), (wire(0, 1, 2),))
    (links,) = route(netlist, Placement((9 + 1, 8 - 1, 18 + 7)), machine).routes
    assert len(links) == 8


def test_ends_on_one_switch_need_no_link() -> None:
    machine = grid(2, 2, agcus=(1,))
    netlist = Netlist(units("m"), (wire(-1, 0), wire(0, -1)))
    assert route(netlist, Placement((1,)), machine) == Routing(((), ()), ())


def test_nets_that_overload_the_shortest_path_spread() -> None:
    """Three full-rate nets along one row of a mesh of three rows: each row must carry one."""
    machine = grid(3, 8)
    capacity = float(machine.link_bytes_per_cycle)
    netlist = Netlist(units("cm"), tuple(wire(0, 1, load=capacity) for _ in range(3)))
    placement = Placement((9, 14))
    routing = route(netlist, placement, machine)
    assert routing.overloads == ()
    assert len(link_loads(netlist, routing)) == sum(map(len, routing.routes))
    check_trees(netlist, placement, routing, machine)


def test_an_early_net_gives_way_to_one_without_a_choice() -> None:
    """Net A has two shortest ways and a higher demand, net B must pass a link that one of A's uses."""
    machine = grid(2, 3, agcus=(2,))
    netlist = Netlist(units("cmm"), (wire(0, -1, load=100.0), wire(0, 1, load=90.0), wire(0, 2, load=20.0)))
    routing = route(netlist, Placement((0, 1, 3)), machine)
    assert routing.overloads == ()


def test_a_net_in_a_hurry_has_links_to_itself() -> None:
    """Two nets of a quarter of a link each share one, unless their stages could take a tile in as short a time."""
    machine = grid(2, 8)
    quarter = machine.link_bytes_per_cycle / 4
    placement = Placement((0, 7))
    for pace, shared in ((1.0, True), (0.25, False)):
        nets = tuple(wire(0, 1, load=quarter, pace=pace) for _ in range(2))
        first, second = route(Netlist(units("cm"), nets), placement, machine).routes
        assert bool(set(first) & set(second)) == shared


def test_phases_do_not_compete() -> None:
    machine = grid(1, 4)
    full = float(machine.link_bytes_per_cycle)
    nets = (wire(0, 1, load=full, phase=0), wire(0, 1, load=full, phase=1))
    assert route(Netlist(units("cm"), nets), Placement((0, 3)), machine).overloads == ()
    together = tuple(wire(0, 1, load=full) for _ in range(2))
    overloads = route(Netlist(units("cm"), together), Placement((0, 3)), machine).overloads
    assert [overload.load for overload in overloads] == [2.0, 2.0, 2.0]


def test_a_net_too_wide_for_any_link_is_routed_and_reported() -> None:
    machine = grid(4, 4)
    netlist = Netlist(units("cm"), (wire(0, 1, load=1.5 * machine.link_bytes_per_cycle),))
    routing = route(netlist, Placement((0, 1)), machine)
    check_trees(netlist, Placement((0, 1)), routing, machine)
    assert routing.overloads and all(overload.load == 1.5 for overload in routing.overloads)


def test_a_chain_is_routed_at_its_wire_length() -> None:
    netlist, machine = chain(40), load_machine("sn10")
    placement = place(netlist, machine, 0)
    summary = utilisation(netlist, route(netlist, placement, machine), machine)
    assert summary.byte_hops_per_cycle == wire_length(netlist, placement, machine)
    assert summary.peak_load == 16.0 / machine.link_bytes_per_cycle


def test_a_thousand_units_are_routed_without_overload() -> None:
    netlist, machine = pipeline(stages=31, width=16, phases=3), load_machine("sn30")
    placement = place(netlist, machine, 0)
    routing = route(netlist, placement, machine)
    check_trees(netlist, placement, routing, machine)
    assert routing.overloads == ()
    used = utilisation(netlist, routing, machine).byte_hops_per_cycle
    assert used <= 1.15 * wire_length(netlist, placement, machine)
