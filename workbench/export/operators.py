"""The operators of a PEF as one graph: what every section computes, and which value goes where.

A node is an operator in a section, or a symbol in device memory. Values cross from stage to stage in buffers and from
section to section in symbols; an edge is a value, with its type.
"""

from __future__ import annotations

from typing import Any

import networkx as nx

from ir.op import Op
from ir.text import print_attribute
from pef import pef_pb2 as pb
from pef.codec import decode_machine, decode_type
from pef.decoded import Application, Body, Configuration, Phase, Stage, Stream


def operator_graph(pef: pb.Pef) -> nx.MultiDiGraph:
    """Every operator of every section, in the order they run, over the symbols. Sizes are of whole tensors for symbols,
    of one firing for operators."""
    graph = nx.MultiDiGraph(name=pef.header.name, what="ir")
    for symbol in pef.symbols:
        tensor = decode_type(symbol.type)
        graph.add_node(
            f"%{symbol.name}", label=symbol.name, role="symbol", kind=symbol.kind, type=str(tensor), bytes=tensor.nbytes
        )
    machine = decode_machine(pef.machine)
    decoded = [Configuration.of(c, machine, f"configuration {n}") for n, c in enumerate(pef.configurations)]
    for section in pef.sections:
        _Section(graph, pef, section, decoded[section.configuration]).add()
    return graph


class _Section:
    """Adds one section: `sources` is the node that made what each buffer holds."""

    def __init__(self, graph: nx.MultiDiGraph, pef: pb.Pef, section: pb.Section, configuration: Configuration) -> None:
        self.graph = graph
        self.pef = pef
        self.section = section
        self.configuration = configuration
        self.sources: dict[int, str] = {}
        self.locations = iter(section.locations)

    def add(self) -> None:
        for number, phase in enumerate(self.configuration.phases):
            for stream in phase.streams:
                if not stream.store and stream.pick is None:
                    self.sources[stream.buffer] = self.symbol(stream)
            pending = [(position, s) for position, s in enumerate(phase.streams) if not s.store and s.pick is not None]
            self.gather_ready(number, pending)
            for position, stage in enumerate(phase.stages):
                self.stage(number, position, phase, stage)
                self.gather_ready(number, pending)
            for position, stream in enumerate(phase.streams):
                if stream.store:
                    self.store(number, position, stream)

    def symbol(self, stream: Stream) -> str:
        return f"%{self.pef.symbols[self.section.bindings[stream.slot]].name}"

    def gather_ready(self, phase: int, pending: list[tuple[int, Stream]]) -> None:
        """Add the loads that go by an index which is there by now."""
        for entry in list(pending):
            position, stream = entry
            index = stream.record.index.buffer
            if index in self.sources:
                node = self.moving(phase, position, "gather", stream)
                self.graph.add_edge(self.symbol(stream), node, value="table")
                self.graph.add_edge(self.sources[index], node, value="index")
                self.sources[stream.buffer] = node
                pending.remove(entry)

    def moving(self, phase: int, position: int, label: str, stream: Stream) -> str:
        node = f"{self.section.name}/{phase}.stream{position}"
        tensor = self.configuration.buffers[stream.buffer].type
        self.graph.add_node(
            node,
            label=label,
            role="stream",
            section=self.section.name,
            kind=self.section.kind,
            phase=phase,
            type=str(tensor),
            bytes=tensor.nbytes,
        )
        return node

    def stage(self, number: int, position: int, phase: Phase, stage: Stage) -> None:
        values = {port.value: self.sources[port.buffer] for port in stage.inputs}
        extra = {"phase": number, "stage": stage.name, "firings": stage.events, "loops": list(phase.nest.counts)}
        self.apply(f"{number}.{position}", stage.body, values, extra)
        for port in stage.outputs:
            self.sources[port.buffer] = values[port.value]

    def store(self, number: int, position: int, stream: Stream) -> None:
        values = {0: self.sources[stream.buffer]}
        if stream.body.applications:
            self.apply(f"{number}.store{position}", stream.body, values, {"phase": number}, located=False)
        source = values[len(stream.body.values) - 1] if stream.body.applications else values[0]
        if stream.pick is not None:
            node = self.moving(number, position, "scatter", stream)
            self.graph.add_edge(source, node, value="rows")
            self.graph.add_edge(self.sources[stream.record.index.buffer], node, value="index")
            source = node
        tensor = self.configuration.slots[stream.slot]
        self.graph.add_edge(source, self.symbol(stream), value=str(tensor), bytes=tensor.nbytes)

    def apply(
        self, place: str, body: Body, values: dict[int, str], extra: dict[str, Any], *, located: bool = True
    ) -> None:
        for index, application in enumerate(body.applications):
            node = f"{self.section.name}/{place}.{index}"
            self.graph.add_node(node, **self.facts(application, body), **extra)
            if located:
                self.graph.nodes[node].update(self.source())
            for operand in application.operands:
                tensor = body.values[operand].type
                self.graph.add_edge(values[operand], node, value=str(tensor), bytes=tensor.nbytes)
            values.update(dict.fromkeys(application.results, node))

    def facts(self, application: Application, body: Body) -> dict[str, Any]:
        op: Op = application.op
        return {
            "label": op.name,
            "role": "operator",
            "section": self.section.name,
            "kind": self.section.kind,
            "attributes": ", ".join(f"{name}={print_attribute(value)}" for name, value in op.attributes().items()),
            "type": ", ".join(map(str, body.types(application.results))),
            "flops": op.flops(*body.types(application.operands)),
        }

    def source(self) -> dict[str, Any]:
        """Where the next operator comes from; nothing in files that do not say."""
        place = next(self.locations, None)
        if place is None:
            return {}
        return {"file": self.pef.strings[place.file], "line": place.line, "module": self.pef.strings[place.module]}
