"""Time comes from where things are: a unit moved to the far corner makes a section slower, never faster."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest

from backends.rdu.place.place import place
from pef import pef_pb2 as pb
from pef.check import check
from pef.codec import decode_machine
from pef.machine import SiteKind
from runtime.timing import PhaseReport, simulate
from tests.honesty.placement import cycles, far_corner, netlist_of, rerouted, sites_of
from tests.honesty.subjects import Subject

CONFIGURATIONS = [0, 1, 2]
WIDE = 1 << 20
AT_LEAST = {"wide": 1 - 1e-12, "narrow": 0.99}
"""Cycles are sums of fractions; where memory is shared, others gain a little while a delayed transfer is not there."""


@pytest.fixture(scope="module")
def narrow(step: Subject) -> pb.Pef:
    return step.copy()


@pytest.fixture(scope="module")
def wide(step: Subject) -> pb.Pef:
    """The same program on a machine whose links take anything in a cycle, and whose memory delivers at once."""
    pef = step.copy()
    pef.machine.link_bytes_per_cycle = WIDE
    for tier in pef.machine.tiers:
        tier.bandwidth_bytes_per_s = 1e15
    return pef


def with_unit_far_away(pef: pb.Pef, number: int, unit: int) -> pb.Pef:
    """The PEF with one unit in the far corner and every net of its configuration routed anew."""
    sites = list(sites_of(pef, number))
    sites[unit] = far_corner(pef, number, unit)
    moved = rerouted(pef, number, tuple(sites))
    check(moved)
    return moved


def some_units(pef: pb.Pef, number: int, count: int = 5) -> list[int]:
    return random.Random(number).sample(range(len(pef.configurations[number].units)), count)


def critical_stages(pef: pb.Pef, phase: PhaseReport, record: pb.Phase) -> list[int]:
    """The stages of a phase that decide when the last result of its last tile arrives, by walking back from it."""
    ends = [stage.starts[-1] + stage.latency_cycles for stage in phase.stages]
    path = [max(range(len(ends)), key=ends.__getitem__)]
    while True:
        read = {port.buffer for port in record.stages[path[-1]].inputs}
        writers = [i for i in range(path[-1]) if any(port.buffer in read for port in record.stages[i].outputs)]
        if not writers:
            return path
        path.append(max(writers, key=ends.__getitem__))


def times(pef: pb.Pef, number: int, units: Iterable[int]) -> tuple[float, dict[int, float]]:
    """Cycles of a configuration routed anew as it is, and with each unit in turn far away."""
    before = cycles(rerouted(pef, number, sites_of(pef, number)), number)
    return before, {unit: cycles(with_unit_far_away(pef, number, unit), number) for unit in units}


@pytest.mark.parametrize("links", ["narrow", "wide"])
@pytest.mark.parametrize("number", CONFIGURATIONS)
def test_distance_never_helps(links: str, number: int, request: pytest.FixtureRequest) -> None:
    pef = request.getfixturevalue(links)
    before, after = times(pef, number, some_units(pef, number))
    assert {unit: cycles for unit, cycles in after.items() if cycles < AT_LEAST[links] * before} == {}
    assert max(after.values()) > before


@pytest.mark.full
@pytest.mark.parametrize("links", ["narrow", "wide"])
@pytest.mark.parametrize("number", CONFIGURATIONS)
def test_distance_never_helps_any_unit(links: str, number: int, request: pytest.FixtureRequest) -> None:
    pef = request.getfixturevalue(links)
    before, after = times(pef, number, range(len(pef.configurations[number].units)))
    assert {unit: cycles for unit, cycles in after.items() if cycles < AT_LEAST[links] * before} == {}


BACKWARD = 1
"""The configuration whose first phase has a critical path of several stages, with rings between them."""
UPDATE = 2
"""The one whose stages, each the update of a parameter, wait for nobody."""


def critical_of(base: pb.Pef, number: int) -> tuple[pb.Phase, list[int]]:
    """The first phase of a configuration, and its critical stages."""
    record = base.configurations[number].phases[0]
    section = next(i for i, section in enumerate(base.sections) if section.configuration == number)
    return record, critical_stages(base, simulate(base, [section]).sections[0].execution.phases[0], record)


def test_a_far_unit_of_the_critical_path_costs_time(wide: pb.Pef) -> None:
    base = rerouted(wide, BACKWARD, sites_of(wide, BACKWARD))
    before = cycles(base, BACKWARD)
    record, critical = critical_of(base, BACKWARD)
    assert len(record.loops) == 1 and len(critical) >= 3
    units = {stage: record.stages[stage].units[0] for stage in critical}
    after = {stage: cycles(with_unit_far_away(wide, BACKWARD, unit), BACKWARD) for stage, unit in units.items()}
    assert {stage: cycles for stage, cycles in after.items() if cycles <= before} == {}


def test_a_far_unit_off_the_critical_path_costs_nothing(wide: pb.Pef) -> None:
    """Updates of small parameters end long before that of the largest, wherever they are made."""
    base = rerouted(wide, UPDATE, sites_of(wide, UPDATE))
    record, critical = critical_of(base, UPDATE)
    idle = next(i for i in range(len(record.stages)) if i not in critical)
    unit = record.stages[idle].units[0]
    assert cycles(with_unit_far_away(wide, UPDATE, unit), UPDATE) == cycles(base, UPDATE)


def test_another_placement_takes_another_time(narrow: pb.Pef) -> None:
    netlist = netlist_of(narrow, 0)
    machine = decode_machine(narrow.machine)
    times = set()
    for seed in range(3):
        placed = rerouted(narrow, 0, place(netlist, machine, seed).sites)
        check(placed)
        times.add(cycles(placed, 0))
    assert len(times) > 1


def test_a_careless_placement_is_slower(narrow: pb.Pef) -> None:
    """Units scattered over the whole chip."""
    machine = decode_machine(narrow.machine)
    pick = random.Random(0)
    free = {kind: list(machine.working_sites(kind)) for kind in SiteKind}
    for sites in free.values():
        pick.shuffle(sites)
    scattered = rerouted(narrow, 0, tuple(free[machine.kind(site)].pop() for site in sites_of(narrow, 0)))
    check(scattered)
    assert cycles(scattered, 0) > 1.2 * cycles(narrow, 0)


def rings_of(pef: pb.Pef, number: int) -> list[int]:
    return [i for i, b in enumerate(pef.configurations[number].buffers) if 1 < b.depth < math.prod(b.counts)]


def with_shallower_ring(pef: pb.Pef, number: int, ring: int) -> pb.Pef:
    shallow = pb.Pef.FromString(pef.SerializeToString())
    shallow.configurations[number].buffers[ring].depth -= 1
    check(shallow)
    return shallow


def test_shallower_rings_are_never_faster(wide: pb.Pef, narrow: pb.Pef) -> None:
    """Nor are they with shared memory, but for the little that a transfer gains while a delayed one is not there."""
    number = BACKWARD
    before, shared = cycles(wide, number), cycles(narrow, number)
    rings = rings_of(wide, number)
    assert rings
    for ring in rings[:: max(1, len(rings) // 6)]:
        assert cycles(with_shallower_ring(wide, number, ring), number) >= before
        assert cycles(with_shallower_ring(narrow, number, ring), number) >= 0.99 * shared


def test_rings_of_one_tile_are_slower(narrow: pb.Pef) -> None:
    shallow = pb.Pef.FromString(narrow.SerializeToString())
    for ring in rings_of(narrow, BACKWARD):
        shallow.configurations[BACKWARD].buffers[ring].depth = 1
    check(shallow)
    assert cycles(shallow, BACKWARD) > 1.1 * cycles(narrow, BACKWARD)
