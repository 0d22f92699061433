"""Graphs as text: GraphML, DOT, and the node-link JSON of networkx."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx


def as_graphml(graph: nx.MultiDiGraph) -> str:
    """GraphML, which Gephi, yEd and networkx read. Lists become JSON text: the format has numbers and text alone."""
    flat = graph.copy()
    for facts in (flat.graph, *(f for _, f in flat.nodes(data=True)), *(f for *_, f in flat.edges(data=True))):
        for key, value in facts.items():
            if isinstance(value, list):
                facts[key] = json.dumps(value)
    buffer = io.BytesIO()
    nx.write_graphml(flat, buffer)
    return buffer.getvalue().decode()


def as_json(graph: nx.MultiDiGraph) -> str:
    """Node-link JSON: `networkx.node_link_graph(json.load(file), edges="edges")` reads it."""
    return json.dumps(nx.node_link_data(graph, edges="edges"), indent=1)


def as_dot(graph: nx.MultiDiGraph) -> str:
    """DOT, for `dot -Tsvg`: labels on nodes and edges, everything else as attributes."""
    return "\n".join([f"digraph {_quoted(graph.graph['name'])} {{", "  rankdir=LR;", *_dot_lines(graph), "}", ""])


def _dot_lines(graph: nx.MultiDiGraph) -> Iterator[str]:
    for node, facts in graph.nodes(data=True):
        shape = _SHAPES.get(str(facts.get("role", "")), "box")
        yield f"  {_quoted(node)} [{_attributes({'shape': shape, **facts})}];"
    for source, sink, facts in graph.edges(data=True):
        shown = {"label": facts["value"], **facts} if "value" in facts else facts
        yield f"  {_quoted(source)} -> {_quoted(sink)} [{_attributes(shown)}];"


def _attributes(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_quoted(value)}" for key, value in facts.items())


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


_SHAPES = {"symbol": "ellipse", "buffer": "cylinder", "load": "cds", "store": "cds", "stream": "cds", "agcu": "cds"}

FORMATS: dict[str, Callable[[nx.MultiDiGraph], str]] = {"graphml": as_graphml, "dot": as_dot, "json": as_json}
"""How graphs are written."""
