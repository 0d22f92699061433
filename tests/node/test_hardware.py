"""Nodes as data: counts, paths, links, and what is wrong with a file of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backends.rdu.machine import load_machine
from ir.errors import UsageError
from runtime.node.hardware import NODE_FOLDER, Kind, load_node, node_names


@pytest.mark.parametrize(
    ("name", "rdus", "tiles", "xrdu_memory_gb"),
    [("sn10-8", 8, 32, 768.0), ("sn30-8", 8, 64, 2048.0), ("sn40l-16", 16, 64, 3072.0)],
)
def test_counts(name: str, rdus: int, tiles: int, xrdu_memory_gb: float) -> None:
    node = load_node(name)
    assert (node.rdus, node.tiles, node.xrdu_memory_gb) == (rdus, tiles, xrdu_memory_gb)
    machine = load_machine(node.machine)
    assert machine.name == node.machine and machine.rdu_tiles == node.tiles_per_rdu


@pytest.mark.parametrize("name", node_names())
def test_every_number_says_where_it_comes_from(name: str) -> None:
    lines = (NODE_FOLDER / f"{name}.toml").read_text().splitlines()
    values = [line for line in lines if "=" in line and not line.startswith(("#", "platform", "machine"))]
    assert len(values) == 9 + (name == "sn40l-16"), "HBM is its alone"
    for line in values:
        assert re.search(r'source = "(published|derived|guess): .+"', line), line


@pytest.mark.parametrize("name", node_names())
def test_paths_name_one_component_each(name: str) -> None:
    node = load_node(name)
    components = list(node.components())
    assert len({component.path for component in components}) == len(components)
    assert all(node.find(component.path) == component for component in components)
    tiles = [component.path for component in components if component.kind is Kind.TILE]
    assert [node.tile_number(path) for path in tiles] == list(range(node.tiles))
    assert [node.tile_path(number) for number in range(node.tiles)] == tiles


@pytest.mark.parametrize("name", node_names())
def test_links_between_rdus_have_two_ends(name: str) -> None:
    node = load_node(name)
    for rdu in range(node.rdus):
        assert node.far_end(rdu, 0) == "host"
        for link in range(1, node.pcie.per_rdu):
            far = node.find(node.far_end(rdu, link))
            assert far.rdu != rdu
            assert node.far_end(far.rdu, int(far.path[-1])) == node.link_path(rdu, link)


def test_an_unknown_path_is_told_how_paths_look() -> None:
    with pytest.raises(UsageError) as caught:
        load_node("sn30-8").find("/XRDU_4/RDU_0")
    assert "/XRDU_0/RDU_0/DDRCH_0/DIMM_E0" in str(caught.value)


def test_nodes_of_ones_own(tmp_path: Path) -> None:
    text = (NODE_FOLDER / "sn30-8.toml").read_text()
    own = tmp_path / "own.toml"
    own.write_text(text.replace("xrdus = { value = 4", "xrdus = { value = 1"))
    assert load_node(str(own)).rdus == 2
    for wrong, said in (
        ("xrdus = { value = 0", "above 0"),
        ("xrdus = 4 #", "TypeError"),
        ("x = = 1\n#", "not describe"),
    ):
        own.write_text(text.replace("xrdus = { value = 4", wrong))
        with pytest.raises(UsageError) as caught:
            load_node(str(own))
        assert said in str(caught.value)
    with pytest.raises(UsageError) as caught:
        load_node("sn50")
    assert "sn30-8" in str(caught.value)
