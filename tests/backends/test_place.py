"""Placement: legal, close to optimal where the optimum is known, and the same for a seed."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.rdu.machine import load_machine
from backends.rdu.place.hypergraph import LATENCY_BYTES_PER_CYCLE
from backends.rdu.place.place import place
from backends.rdu.wire.netlist import Net, Netlist, Placement, wire_length
from ir.errors import InfeasibleError
from pef.machine import Machine, SiteKind
from tests.backends.netlists import chain, grid, pipeline, units, wire


def check_legal(netlist: Netlist, placement: Placement, machine: Machine) -> None:
    """Every unit is on a working site of its kind, alone."""
    assert len(placement.sites) == len(netlist.units)
    assert len(set(placement.sites)) == len(placement.sites)
    for unit, site in zip(netlist.units, placement.sites):
        assert machine.kind(site) is unit.kind
        assert site not in machine.faulty_sites


def random_placement(netlist: Netlist, machine: Machine, seed: int) -> Placement:
    """Units on any sites of their kinds."""
    sites = {kind: list(machine.working_sites(kind)) for kind in SiteKind}
    for free in sites.values():
        Random(seed).shuffle(free)
    return Placement(tuple(sites[unit.kind].pop() for unit in netlist.units))


def shortest(netlist: Netlist, machine: Machine) -> float:
    """The least wire length of all placements, by trying them all."""
    pcus, pmus = (list(machine.working_sites(kind)) for kind in SiteKind)
    count = sum(unit.kind is SiteKind.PCU for unit in netlist.units)
    best = float("inf")
    for on_pcus in itertools.permutations(pcus, count):
        for on_pmus in itertools.permutations(pmus, len(netlist.units) - count):
            sites = {SiteKind.PCU: iter(on_pcus), SiteKind.PMU: iter(on_pmus)}
            placement = Placement(tuple(next(sites[unit.kind]) for unit in netlist.units))
            best = min(best, wire_length(netlist, placement, machine))
    return best


@st.composite
def netlists(draw: st.DrawFn, most: int = 12) -> Netlist:
    """Any few units and nets; AGCUs 0 to 3 are -1 to -4."""
    pattern = draw(st.text("cm", min_size=1, max_size=most))
    end = st.integers(-4, len(pattern) - 1)
    sinks = st.lists(end, min_size=1, max_size=5)
    loads = st.sampled_from([0.0, 1.0, 16.0, 64.0, 200.0])
    nets = draw(
        st.lists(st.builds(lambda a, b, c, d: wire(a, *b, load=c, phase=d), end, sinks, loads, st.integers(0, 1)))
    )
    return Netlist(units(pattern), tuple(nets))


@given(netlists(), st.sets(st.integers(0, 47), max_size=20), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_netlist_is_placed_legally_or_refused(netlist: Netlist, faulty: set[int], seed: int) -> None:
    machine = grid(6, 8, tuple(sorted(faulty)), agcus=(0, 7, 24, 47))
    room = all(
        sum(unit.kind is kind for unit in netlist.units) <= len(machine.working_sites(kind)) for kind in SiteKind
    )
    if room:
        check_legal(netlist, place(netlist, machine, seed), machine)
    else:
        with pytest.raises(InfeasibleError):
            place(netlist, machine, seed)


@given(netlists(most=5))
@settings(max_examples=15, deadline=None)
def test_a_few_units_are_placed_close_to_the_optimum(netlist: Netlist) -> None:
    machine = grid(3, 4, agcus=(0, 3, 8, 11))
    weighed = Netlist(netlist.units, tuple(with_latency(net) for net in netlist.nets))
    placed = wire_length(weighed, place(netlist, machine, 0), machine)
    assert placed <= 1.25 * shortest(weighed, machine)


def with_latency(net: Net) -> Net:
    """The net with what placement counts a hop of it for, beside its bytes."""
    return replace(net, bytes_per_cycle=net.bytes_per_cycle + LATENCY_BYTES_PER_CYCLE)


@pytest.mark.parametrize("length", [2, 9, 30, 100])
def test_a_chain_is_close_to_one_hop_per_net(length: int) -> None:
    netlist, machine = chain(length), load_machine("sn30")
    placed = wire_length(netlist, place(netlist, machine, 0), machine)
    assert placed <= 1.25 * 16.0 * (length - 1)


@pytest.mark.parametrize("seed", range(3))
def test_placing_is_far_better_than_chance(seed: int) -> None:
    netlist, machine = pipeline(stages=6, width=8), load_machine("sn10")
    chance = min(wire_length(netlist, random_placement(netlist, machine, i), machine) for i in range(20))
    assert wire_length(netlist, place(netlist, machine, seed), machine) < 0.3 * chance


def test_a_full_machine_is_placed() -> None:
    machine = grid(4, 4, agcus=(0,))
    netlist = Netlist(units("cm" * 8), tuple(wire(index, (index + 1) % 16) for index in range(16)))
    check_legal(netlist, place(netlist, machine, 0), machine)


def test_units_stay_by_the_agcu_they_talk_to() -> None:
    machine = load_machine("sn30")
    for agcu, home in enumerate(machine.agcu_sites):
        (site,) = place(Netlist(units("m"), (wire(-1 - agcu, 0),)), machine, 0).sites
        assert abs(site // 40 - home // 40) + abs(site % 40 - home % 40) <= 1


def test_nothing_to_place() -> None:
    assert place(Netlist((), ()), grid(2, 2), 0) == Placement(())


def test_units_without_nets_are_placed() -> None:
    netlist, machine = Netlist(units("cmcmc"), ()), grid(3, 3)
    check_legal(netlist, place(netlist, machine, 0), machine)


def test_too_many_units_are_refused_with_both_numbers() -> None:
    netlist = Netlist(units("ccccmmm"), ())
    with pytest.raises(InfeasibleError) as error:
        place(netlist, grid(2, 2), 0)
    assert "needs 4 PCUs; SN30 has 2" in str(error.value)
    assert "needs 3 PMUs; SN30 has 2" in str(error.value)


def test_a_thousand_units_on_a_faulty_chip() -> None:
    machine = grid(64, 40, faulty=tuple(range(0, 2560, 37)), agcus=load_machine("sn30").agcu_sites)
    netlist = pipeline(stages=31, width=16)
    assert len(netlist.units) > 1000
    placement = place(netlist, machine, 0)
    check_legal(netlist, placement, machine)
    assert wire_length(netlist, placement, machine) < 0.1 * wire_length(
        netlist, random_placement(netlist, machine, 0), machine
    )


PROGRAM = """
from backends.rdu.machine import load_machine
from backends.rdu.place.hypergraph import LATENCY_BYTES_PER_CYCLE
from backends.rdu.place.place import place
from backends.rdu.route.route import route
from tests.backends.netlists import pipeline
netlist, machine = pipeline(4, 6, phases=2), load_machine("sn10")
placement = place(netlist, machine, 5)
print(placement, route(netlist, placement, machine))
"""


def test_the_same_seed_gives_the_same_result_in_any_process() -> None:
    def run(hash_seed: str, threads: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OPENBLAS_NUM_THREADS": threads}
        folder = Path(__file__).parents[2]
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout

    assert run("1", "1") == run("2", "2")
