"""Exports: every format is read back by a library, and holds what the PEF holds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import networkx as nx
import pytest

from pef import pef_pb2 as pb
from pef.file import encoded
from tests.cli.conftest import assert_refused, run_snc
from tests.pef.samples import SAMPLES
from workbench.export.formats import as_dot, as_graphml, as_json
from workbench.export.graphs import VIEWS, export_graph


@pytest.mark.parametrize("what", VIEWS)
def test_what_is_written_is_read_again(training: pb.Pef, what: str) -> None:
    graph = export_graph(training, what)
    assert graph.number_of_edges() > 0
    again = nx.node_link_graph(json.loads(as_json(graph)), edges="edges")
    assert nx.utils.graphs_equal(again, graph)
    xml = nx.read_graphml(io.BytesIO(as_graphml(graph).encode()), force_multigraph=True)
    assert set(xml) == set(graph) and xml.number_of_edges() == graph.number_of_edges()
    dot = as_dot(graph)
    assert dot.count(" -> ") == graph.number_of_edges() and all(f'"{node}" [' in dot for node in graph)


def test_operators_are_all_there_with_their_lines(training: pb.Pef) -> None:
    graph = export_graph(training, "ir")
    expected = sum(
        len(stage.operations)
        for section in training.sections
        for phase in training.configurations[section.configuration].phases
        for stage in phase.stages
    )
    operators = [facts for _, facts in graph.nodes(data=True) if facts["role"] == "operator" and "file" in facts]
    assert len(operators) == expected
    product = next(facts for facts in operators if facts["label"] == "matmul")
    assert product["file"] == "small.py" and product["line"] > 0 and product["flops"] > 0
    assert nx.has_path(graph, "%features", "%output")


def test_sections_hand_over_what_they_leave_in_memory(training: pb.Pef) -> None:
    graph = export_graph(training, "sections")
    assert list(graph) == [section.name for section in training.sections]
    assert nx.is_directed_acyclic_graph(graph)
    assert all(facts["bytes"] > 0 for *_, facts in graph.edges(data=True)) and graph.number_of_edges()


def test_stages_are_joined_by_their_buffers(training: pb.Pef) -> None:
    graph = export_graph(training, "stages")
    for node, facts in graph.nodes(data=True):
        neighbours = {graph.nodes[other]["role"] for other in (*graph.predecessors(node), *graph.successors(node))}
        assert neighbours == ({"buffer"} if facts["role"] != "buffer" else neighbours - {"buffer"})


def test_nets_lead_from_site_to_site(training: pb.Pef) -> None:
    graph = export_graph(training, "netlist")
    sinks = sum(len(net.sinks) for c in training.configurations for net in c.nets)
    assert graph.number_of_edges() == sinks
    for configuration in range(len(training.configurations)):
        own = [f for _, f in graph.nodes(data=True) if f["configuration"] == configuration and f["role"] != "agcu"]
        assert len({facts["site"] for facts in own}) == len(own), "one unit, one site"


@pytest.mark.parametrize("what", VIEWS)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_can_be_exported(name: str, what: str) -> None:
    assert as_graphml(export_graph(SAMPLES[name](), what))


def test_the_command(training_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "graph.json"
    assert run_snc("export", training_path, "--what", "sections", "-o", target).exit_code == 0
    shown = run_snc("export", training_path, "--what", "sections")
    assert json.loads(shown.output) == json.loads(target.read_text())
    assert_refused(run_snc("export", tmp_path / "no.pef"), "PEF", "no.pef")


def test_an_illegal_pef_is_refused(training: pb.Pef, tmp_path: Path) -> None:
    training.configurations[0].units[0].site = 10**6
    (tmp_path / "broken.pef").write_bytes(encoded(training))
    assert_refused(run_snc("export", tmp_path / "broken.pef"), "CHECK", "site")
