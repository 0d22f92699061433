"""A PEF as graphs of networkx: of operators, sections, stages, or units with their nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx as nx

from pef import pef_pb2 as pb
from pef.check import check
from pef.codec import decode_machine, decode_type
from pef.decoded import Configuration, Phase, Stage
from pef.machine import Machine
from workbench.export.operators import operator_graph


def export_graph(pef: pb.Pef, what: str) -> nx.MultiDiGraph:
    """The graph called `what`, one of `VIEWS`. Raises IllegalPefError where the PEF is not legal."""
    check(pef)
    return VIEWS[what](pef)


def section_graph(pef: pb.Pef) -> nx.MultiDiGraph:
    """Sections in the order they run; an edge is a symbol that one leaves in memory for another."""
    graph = nx.MultiDiGraph(name=pef.header.name, what="sections")
    machine = decode_machine(pef.machine)
    stored_by: dict[int, str] = {}
    for number, section in enumerate(pef.sections):
        configuration, prediction = pef.configurations[section.configuration], section.prediction
        graph.add_node(
            section.name,
            label=section.name,
            kind=section.kind,
            order=number,
            configuration=section.configuration,
            rule=section.rule,
            phases=len(configuration.phases),
            stages=sum(len(phase.stages) for phase in configuration.phases),
            units=len(configuration.units),
            predicted_us=prediction.cycles / machine.cycles(1.0),
            load_us=prediction.load_cycles / machine.cycles(1.0),
            bound=prediction.bound,
            flops=prediction.flops,
            dram_read_bytes=prediction.dram_read_bytes,
            dram_write_bytes=prediction.dram_write_bytes,
        )
        streams = [stream for phase in configuration.phases for stream in phase.streams]
        for symbol in sorted({section.bindings[stream.slot] for stream in streams if not stream.store}):
            if symbol in stored_by:
                tensor = decode_type(pef.symbols[symbol].type)
                name = pef.symbols[symbol].name
                graph.add_edge(stored_by[symbol], section.name, value=name, type=str(tensor), bytes=tensor.nbytes)
        stored_by |= {section.bindings[stream.slot]: section.name for stream in streams if stream.store}
    return graph


def stage_graph(pef: pb.Pef) -> nx.MultiDiGraph:
    """Stages, buffers and streams of every configuration, as data flows through them."""
    graph = nx.MultiDiGraph(name=pef.header.name, what="stages")
    machine = decode_machine(pef.machine)
    for number, record in enumerate(pef.configurations):
        configuration = Configuration.of(record, machine, f"configuration {number}")
        sections = [section.name for section in pef.sections if section.configuration == number]
        bound = next(section.bindings for section in pef.sections if section.configuration == number)
        common = {"configuration": number, "sections": sections}
        for index, buffer in enumerate(configuration.buffers):
            graph.add_node(
                f"c{number}/buffer{index}",
                label=buffer.name,
                role="buffer",
                type=str(buffer.type),
                depth=buffer.depth,
                slices=buffer.slices,
                bytes=buffer.bytes,
                pmus=len(buffer.units),
                **common,
            )
        for index, phase in enumerate(configuration.phases):
            for position, stage in enumerate(phase.stages):
                _add_stage(graph, f"c{number}", index, position, stage, common)
            names = [pef.symbols[bound[stream.slot]].name for stream in phase.streams]
            _add_streams(graph, configuration, f"c{number}", index, phase, names, common)
    return graph


def _add_stage(
    graph: nx.MultiDiGraph, prefix: str, phase: int, position: int, stage: Stage, common: dict[str, Any]
) -> None:
    node = f"{prefix}/{phase}.{position}"
    parallel = stage.parallelism
    graph.add_node(
        node,
        label=stage.name,
        role="stage",
        phase=phase,
        firings=stage.events,
        loops=list(stage.body.nest.counts[: stage.level]),
        pcus=parallel.units,
        parallel=f"{parallel.batch}x{parallel.row}x{parallel.column}x{parallel.chain}",
        flops=stage.events * stage.work.flops,
        **common,
    )
    for port in stage.inputs:
        tensor = stage.body.values[port.value].type
        graph.add_edge(f"{prefix}/buffer{port.buffer}", node, value=str(tensor), bytes=tensor.nbytes)
    for port in stage.outputs:
        tensor = stage.body.values[port.value].type
        graph.add_edge(
            node, f"{prefix}/buffer{port.buffer}", value=str(tensor), bytes=tensor.nbytes, combine=port.combine
        )


def _add_streams(
    graph: nx.MultiDiGraph,
    configuration: Configuration,
    prefix: str,
    index: int,
    phase: Phase,
    symbols: list[str],
    common: dict[str, Any],
) -> None:
    for position, (stream, symbol) in enumerate(zip(phase.streams, symbols)):
        node = f"{prefix}/{index}.stream{position}"
        moved = {
            "transfers": configuration.transfers(index, stream),
            "bytes": configuration.transfer_bytes(index, stream),
        }
        direction = "store" if stream.store else "load"
        graph.add_node(
            node, label=f"{direction} {symbol}", role=direction, phase=index, symbol=symbol, **moved, **common
        )
        ends = (f"{prefix}/buffer{stream.buffer}", node)
        graph.add_edge(*(ends if stream.store else reversed(ends)), **moved)
        if stream.pick is not None:
            graph.add_edge(f"{prefix}/buffer{stream.record.index.buffer}", node, value="index")


def netlist_graph(pef: pb.Pef) -> nx.MultiDiGraph:
    """Units at their sites and AGCUs, of every configuration; an edge leads from the source of a net to each sink."""
    graph = nx.MultiDiGraph(name=pef.header.name, what="netlist")
    machine = decode_machine(pef.machine)
    for number, record in enumerate(pef.configurations):
        owners = _owners(record)
        for index, unit in enumerate(record.units):
            graph.add_node(
                f"c{number}/unit{index}",
                label=owners.get(index, ""),
                role=machine.kind(unit.site).value,
                configuration=number,
                **_at(unit.site, machine),
            )
        for position, net in enumerate(record.nets):
            facts = {"net": position, "kind": pb.Net.Kind.Name(net.kind), "phase": net.phase, "bytes": net.bytes}
            source = _terminal(graph, number, net.source, machine)
            for sink in net.sinks:
                graph.add_edge(source, _terminal(graph, number, sink, machine), links=len(net.route) // 2, **facts)
    return graph


def _owners(record: pb.Configuration) -> dict[int, str]:
    """The stage or the buffers that each unit belongs to."""
    owners: dict[int, str] = {}
    for phase in record.phases:
        for stage in phase.stages:
            owners.update(dict.fromkeys(stage.units, stage.name))
    for buffer in record.buffers:
        for unit in buffer.units:
            owners[unit] = f"{owners[unit]} {buffer.name}" if unit in owners else buffer.name
    return owners


def _terminal(graph: nx.MultiDiGraph, configuration: int, terminal: pb.Terminal, machine: Machine) -> str:
    if terminal.WhichOneof("at") == "unit":
        return f"c{configuration}/unit{terminal.unit}"
    node = f"c{configuration}/agcu{terminal.agcu}"
    if node not in graph:
        where = _at(machine.agcu_sites[terminal.agcu], machine)
        graph.add_node(node, label=f"AGCU {terminal.agcu}", role="agcu", configuration=configuration, **where)
    return node


def _at(site: int, machine: Machine) -> dict[str, int]:
    row, column = divmod(site, machine.columns)
    return {"site": site, "row": row, "column": column}


VIEWS: dict[str, Callable[[pb.Pef], nx.MultiDiGraph]] = {
    "ir": operator_graph,
    "sections": section_graph,
    "stages": stage_graph,
    "netlist": netlist_graph,
}
"""What can be exported."""
