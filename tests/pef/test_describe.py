"""Descriptions: complete, JSON, with a picture. tests/cli/test_tables.py has the tables."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from ir.errors import IllegalPefError
from pef import describe
from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.decoded import Configuration
from pef.links import busiest_link_cycles, link_loads
from tests.pef.samples import SAMPLES, step, two_phases, two_products

INSIDE = describe.Selection(section="*")


def decoded(pef: pb.Pef) -> Configuration:
    """The first configuration."""
    return Configuration.of(pef.configurations[0], decode_machine(pef.machine), "configuration 0")


def rendered(pef: pb.Pef, selection: describe.Selection) -> str:
    """The text on a terminal without colours."""
    console = Console(width=150, file=io.StringIO(), color_system=None)
    describe.render(pef, console, selection)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("name", SAMPLES)
def test_dict_is_json(name: str) -> None:
    facts = describe.as_dict(SAMPLES[name]())
    assert json.loads(json.dumps(facts))["name"] == "sample"


def test_dict_has_the_program() -> None:
    facts = describe.as_dict(two_products())
    (section,) = facts["sections"]
    assert (section["stages"], section["operators"], section["pcus"], section["pmus"]) == (2, 3, 5, 6)
    assert section["bindings"] == ["x", "a", "b", "y"]
    (phase,) = facts["configurations"][0]["phases"]
    tanh = phase["stages"][0]["operators"][1]
    assert tanh == {"op": "tanh", "source": {"file": "model.py", "line": 11, "module": "net.fc1"}}
    assert facts["configurations"][0]["buffers"][2]["bytes"] == 2 * 64 * 48 * 4
    assert facts["metadata"] == {"labels": ["a", "b"], "threshold": 0.5}


def test_dict_has_nets_and_routes() -> None:
    pef = two_products()
    (configuration,) = describe.as_dict(pef)["configurations"]
    nets, records = configuration["nets"], pef.configurations[0].nets
    assert len(nets) == len(records)
    for net, record in zip(nets, records):
        assert [end for link in net["route"] for end in link] == list(record.route)
        assert len(net["sinks"]) == len(record.sinks) and net["bytes"] == record.bytes
    joined = {(net["kind"], net["from"], net["to"]) for net in nets}
    assert {("read", "x", "fc1"), ("write", "fc1", "hidden"), ("read", "hidden", "fc2")} <= joined
    assert {("load", "memory", "x"), ("store", "y", "memory")} <= joined
    assert {net["events"] for net in nets if net["from"] == "x"} == {4}


def test_dict_has_the_sources_of_every_section() -> None:
    facts = describe.as_dict(step())
    assert [len(section["sources"]) for section in facts["sections"]] == [s["operators"] for s in facts["sections"]]


def test_what_has_no_line_is_its_name_alone() -> None:
    pef = step()
    pef.strings.append("<adamw>")
    for section in pef.sections:
        for location in section.locations:
            location.file, location.line = len(pef.strings) - 1, 0
    shown = rendered(pef, INSIDE)
    assert "<adamw>" in shown and "<adamw>:" not in shown


def test_grid_shows_every_unit() -> None:
    rows = describe.as_dict(two_phases())["configurations"][0]["grid"]
    text = "".join(rows)
    assert [len(row) for row in rows] == [8] * 8
    assert [text.count(mark) for mark in "ABab+x"] == [1, 4, 1, 1, 3, 2]


def test_grid_can_be_left_out() -> None:
    assert "upper case: PCUs" in rendered(two_phases(), INSIDE)
    assert "upper case: PCUs" not in rendered(two_phases(), replace(INSIDE, grid=False))


def test_illegal_is_refused() -> None:
    pef = two_products()
    pef.configurations[0].units[0].site = 999
    with pytest.raises(IllegalPefError, match="unit 0: there is no site 999"):
        describe.as_dict(pef)


def test_names_are_not_markup() -> None:
    pef = two_products()
    pef.configurations[0].phases[0].stages[0].name = "[red]fc1[/]"
    assert "[red]fc1[/]" in rendered(pef, INSIDE)


def test_link_loads_follow_routes() -> None:
    pef = two_products()
    before = link_loads(decoded(pef), 0)
    net = next(net for net in pef.configurations[0].nets if net.kind == pb.Net.READ and net.route)
    net.bytes += 1000
    after = link_loads(decoded(pef), 0)
    changed = {link for link in after if after[link] != before[link]}
    assert changed == set(zip(net.route[::2], net.route[1::2]))
    assert busiest_link_cycles(decoded(pef), 0) == max(after.values()) / 64


def test_whole_transfers_load_no_link() -> None:
    pef = two_products()
    before = link_loads(decoded(pef), 0)
    for net in pef.configurations[0].nets:
        if net.kind == pb.Net.LOAD and net.stream == 1:
            net.bytes *= 100
    assert link_loads(decoded(pef), 0) == before
