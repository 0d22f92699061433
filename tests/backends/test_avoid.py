"""Mapping around hardware: what is avoided is used by nothing, the checker sees it, and numbers stay."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from backends.rdu.avoid import without
from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from ir.errors import IllegalPefError, MachineError, SncError, UsageError
from ir.graph import Program
from pef import pef_pb2 as pb
from pef.check import check
from pef.codec import decode_machine
from pef.machine import Machine
from runtime.session import Session
from tests.backends.test_mapping import Net

SN10, SN30 = load_machine("sn10"), load_machine("sn30")


def perceptron() -> Program:
    """Two products with a row-wise function between them: enough nets to spread over several RDU tiles."""
    net = Net()
    x, a, b = net.input("x", 256, 512), net.weight("a", 512, 1024), net.weight("b", 1024, 512)
    net.output("y", net("matmul", net("tanh", net("matmul", x, a)), b))
    return Program("perceptron", tuple(net.symbols), (net.builder.build(),))


@cache
def compiled(*avoided: str) -> pb.Pef:
    """Not to be changed: tests share it."""
    pef = compile_program(perceptron(), without(SN30, avoided), BackendOptions())
    check(pef)
    return pef


def sites_used(pef: pb.Pef) -> set[int]:
    """Of units, AGCUs and switches."""
    machine = decode_machine(pef.machine)
    used = {unit.site for configuration in pef.configurations for unit in configuration.units}
    for configuration in pef.configurations:
        used.update(site for net in configuration.nets for site in net.route)
        streams = (stream for phase in configuration.phases for stream in phase.streams)
        used.update(machine.agcu_sites[agcu] for stream in streams for agcu in stream.agcus)
    return used


@pytest.mark.parametrize("avoided", ["tile:0", "tile:0-3", "tile:1,tile:3,tile:5"])
def test_an_avoided_tile_is_crossed_by_nothing(avoided: str) -> None:
    whole, around = compiled(), compiled(avoided)
    excluded = without(SN30, [avoided]).excluded_rdu_tiles()
    assert {SN30.rdu_tile(site) for site in sites_used(whole)} & excluded, "the test would show nothing"
    assert not {SN30.rdu_tile(site) for site in sites_used(around)} & excluded


def test_numbers_do_not_depend_on_where_units_sit() -> None:
    rng = np.random.default_rng(0)
    values = {
        name: rng.standard_normal(shape, np.float32)
        for name, shape in (("x", (256, 512)), ("a", (512, 1024)), ("b", (1024, 512)))
    }
    results = []
    for pef in (compiled(), compiled("tile:0", "unit:900", "agcu:20")):
        session = Session(pef, threads=1)
        session.bind(**values)
        results.append(session.run()["y"])
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-4)


def test_a_single_unit_and_a_single_agcu() -> None:
    pef = compiled("unit:41", "agcu:0")
    machine = decode_machine(pef.machine)
    assert 41 in machine.faulty_sites and 41 not in {u.site for c in pef.configurations for u in c.units}
    assert machine.agcu_sites == SN30.agcu_sites[1:]
    assert machine.excluded_rdu_tiles() == frozenset()


def test_the_checker_sees_routes_and_agcus_in_an_excluded_tile() -> None:
    pef = compiled()
    tile = min({SN30.rdu_tile(site) for site in sites_used(pef)})
    record = pb.Pef.FromString(pef.SerializeToString())
    record.machine.faulty_sites.extend(site for site in range(SN30.sites) if SN30.rdu_tile(site) == tile)
    with pytest.raises(IllegalPefError) as caught:
        check(record)
    assert f"of RDU tile {tile}, which is excluded" in str(caught.value)
    assert "an AGCU is attached" in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "avoided", "kind", "said"),
    [
        (SN30, "tile:8", UsageError, "SN30 has tiles 0 to 7"),
        (SN30, "tile:5-4", UsageError, "has tiles"),
        (SN30, "unit:2560", UsageError, "has units 0 to 2559"),
        (SN30, "dimm:1", UsageError, "not the name of a piece of hardware"),
        (SN30, "tile:x", UsageError, "not a number"),
        (SN30, "tile:0-7", MachineError, "no unit"),
        (SN30, "agcu:0-31", MachineError, "no AGCU"),
        (SN30, "tile:2,tile:3", MachineError, "--avoid tile:0,tile:1"),
        (SN10, "tile:0,tile:3", MachineError, "--avoid tile:"),
    ],
)
def test_what_cannot_be_avoided(machine: Machine, avoided: str, kind: type[SncError], said: str) -> None:
    with pytest.raises(kind) as caught:
        without(machine, [avoided])
    assert said in str(caught.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        without(SN30, ["tile:9", "agcu:99,x:1"])
    assert len(caught.value.problems) == 3


def test_tiles_are_numbered_along_rows() -> None:
    assert [SN30.rdu_tile(site) for site in (0, 19, 20, 39, 16 * 40, 63 * 40 + 39)] == [0, 0, 1, 1, 2, 7]
    assert SN30.rdu_tiles == 8 and SN10.rdu_tiles == 4
    last = replace(SN10, faulty_sites=tuple(site for site in range(SN10.sites) if SN10.rdu_tile(site) == 3))
    assert last.excluded_rdu_tiles() == {3}
    assert len(last.closed_switches()) == SN10.sites // 4
