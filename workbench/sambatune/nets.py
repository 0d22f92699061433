"""bandwidth_report.csv, paths_report.csv and the stalls of PMU ports."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import networkx as nx

from pef import pef_pb2 as pb
from pef.decoded import Configuration
from pef.links import net_events
from runtime.timing.report import PhaseReport, SectionReport
from workbench.sambatune.sections import Row, Run

BF16_BYTES = 2
"""A vector is one bf16 element for each lane."""


def _distinct(run: Run) -> Iterator[tuple[SectionReport, int]]:
    """The first section of every configuration, and how many share it."""
    shared = Counter(section.configuration for section in run.report.sections)
    seen: set[int] = set()
    for section in run.report.sections:
        if section.configuration not in seen:
            seen.add(section.configuration)
            yield section, shared[section.configuration]


def bandwidth_rows(run: Run) -> Iterator[Row]:
    """A row for each net of every configuration. Bank conflicts are not modelled: that column is empty."""
    machine = run.report.machine
    for section, sections in _distinct(run):
        configuration = run.pef.configuration(section.configuration)
        for net in configuration.record.nets:
            phase = section.execution.phases[net.phase]
            cycles = max(1.0, phase.end - phase.start)
            events = net_events(configuration, net)
            rate = net.bytes * events / cycles
            yield {
                "source_unit_name": _unit(configuration, net.source),
                "event_name": f"section {section.index} phase {net.phase} {pb.Net.Kind.Name(net.kind)}",
                "required_avg_bandwidth": f"{rate * machine.clock_ghz:.4f}",
                "bandwidth_vec/cycles": f"{rate / (machine.pcu_lanes * BF16_BYTES):.6f}",
                "slowdown_factor": f"{_slowdown(net, phase):.4f}",
                "manhattan_distance": max(_distance(configuration, net.source, sink) for sink in net.sinks),
                "number_iterations": events,
                "number_iterations_global": events * sections,
                "bank_conflict_count": "",
            }


def _slowdown(net: pb.Net, phase: PhaseReport) -> float:
    """How much longer a firing of the net's stage takes than it computes; 1 for streams."""
    if net.WhichOneof("owner") != "stage":
        return 1.0
    stage = phase.stages[net.stage]
    return stage.interval_cycles / max(1, stage.compute_cycles)


def _site(configuration: Configuration, terminal: pb.Terminal) -> int:
    if terminal.WhichOneof("at") == "unit":
        return configuration.sites[terminal.unit]
    return configuration.machine.agcu_sites[terminal.agcu]


def _unit(configuration: Configuration, terminal: pb.Terminal) -> str:
    site = _site(configuration, terminal)
    row, column = divmod(site, configuration.machine.columns)
    if terminal.WhichOneof("at") == "agcu":
        return f"agcu_{terminal.agcu}"
    return f"{configuration.machine.kind(site).value}_{row}_{column}"


def _distance(configuration: Configuration, source: pb.Terminal, sink: pb.Terminal) -> int:
    ends = [divmod(_site(configuration, end), configuration.machine.columns) for end in (source, sink)]
    return abs(ends[0][0] - ends[1][0]) + abs(ends[0][1] - ends[1][1])


def path_rows(run: Run) -> Iterator[Row]:
    """For every stage that no other of its phase reads, the slowest chain of stages and buffers that leads to it."""
    for section, _ in _distinct(run):
        for number, phase in enumerate(section.execution.phases):
            nodes = {run.node(section, number, position): position for position in range(len(phase.stages))}
            inner = nx.DiGraph(run.graph.subgraph([*nodes, *_buffers(run, nodes)]))
            for node in nodes:
                if not any(reader in nodes for buffer in inner.successors(node) for reader in inner.successors(buffer)):
                    yield _path_row(run, section, phase, nodes, inner, node)


def _buffers(run: Run, nodes: dict[str, int]) -> set[str]:
    return {other for node in nodes for other in (*run.graph.predecessors(node), *run.graph.successors(node))}


def _path_row(
    run: Run, section: SectionReport, phase: PhaseReport, nodes: dict[str, int], inner: nx.DiGraph, last: str
) -> Row:
    """Backwards from a stage, always to the one whose first result came last."""
    chain, buffers = [last], list[str]()
    while True:
        before = [
            (phase.stages[nodes[maker]].starts[0] + phase.stages[nodes[maker]].latency_cycles, maker, buffer)
            for buffer in inner.predecessors(chain[0])
            for maker in inner.predecessors(buffer)
            if maker in nodes and maker not in chain
        ]
        if not before:
            break
        _, maker, buffer = max(before)
        chain.insert(0, maker)
        buffers.insert(0, buffer)
    stages = [phase.stages[nodes[node]] for node in chain]
    located = [section.locations[o] for stage in stages for o in stage.operations if o < len(section.locations)]
    return {
        "section id": section.index,
        "buffer chain": " -> ".join(str(run.graph.nodes[buffer]["label"]) for buffer in buffers),
        "latency": round(sum(stage.latency_cycles for stage in stages)),
        "nodes (kNames)": " -> ".join(stage.name for stage in stages),
        "nodes (NodeName)": " ".join(dict.fromkeys(str(location) for location in located)),
        "src stage depth": run.depths[chain[0]],
        "dst stage depth": run.depths[last],
    }


def stall_rows(run: Run) -> Iterator[Row]:
    """For every PMU that stages read, the share of its phase in which each of its two read ports makes them wait.

    A reader uses one port of each PMU: the readers of a PMU are dealt to its ports in order.
    """
    for section, _ in _distinct(run):
        configuration = run.pef.configuration(section.configuration)
        for number, phase in enumerate(section.execution.phases):
            stalls: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
            turns: Counter[int] = Counter()
            for stage, timed in zip(configuration.phases[number].stages, phase.stages):
                share = timed.time.port / timed.time.total if timed.time.total else 0.0
                for port in stage.inputs:
                    for unit in configuration.buffers[port.buffer].units:
                        side = turns[unit] % 2
                        stalls[unit][side] = max(stalls[unit][side], share)
                        turns[unit] += 1
            for unit, (first, second) in sorted(stalls.items()):
                yield {
                    "section id": section.index,
                    "phase": number,
                    "source_unit_name": _unit(configuration, pb.Terminal(unit=unit)),
                    "STALL_RD0": f"{first:.4f}",
                    "STALL_RD1": f"{second:.4f}",
                }
