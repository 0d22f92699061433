"""Descriptions: complete, JSON, and as the snapshot shows. SNC_UPDATE=1 writes the snapshot anew."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from ir.errors import IllegalPefError
from pef import describe
from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.decoded import Configuration
from pef.links import busiest_link_cycles, link_loads
from tests.pef.samples import SAMPLES, step, two_phases, two_products

SNAPSHOT = Path(__file__).parent / "data" / "describe.txt"


def decoded(pef: pb.Pef) -> Configuration:
    """The first configuration."""
    return Configuration.of(pef.configurations[0], decode_machine(pef.machine), "configuration 0")


def rendered(pef: pb.Pef, grid: bool = True) -> str:
    """The text on a terminal without colours."""
    console = Console(width=150, file=io.StringIO(), color_system=None)
    describe.render(pef, console, grid=grid)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_snapshot() -> None:
    if os.environ.get("SNC_UPDATE"):
        SNAPSHOT.write_text(rendered(step()))
    assert rendered(step()) == SNAPSHOT.read_text()


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


def test_grid_shows_every_unit() -> None:
    rows = describe.as_dict(two_phases())["configurations"][0]["grid"]
    text = "".join(rows)
    assert [len(row) for row in rows] == [8] * 8
    assert [text.count(mark) for mark in "ABab+x"] == [1, 4, 1, 1, 3, 2]


def test_grid_can_be_left_out() -> None:
    assert "upper case PCUs" not in rendered(two_phases(), grid=False)


def test_illegal_is_refused() -> None:
    pef = two_products()
    pef.configurations[0].units[0].site = 999
    with pytest.raises(IllegalPefError, match="unit 0: there is no site 999"):
        describe.as_dict(pef)


def test_names_are_not_markup() -> None:
    pef = two_products()
    pef.configurations[0].phases[0].stages[0].name = "[red]fc1[/]"
    assert "[red]fc1[/]" in rendered(pef)


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
