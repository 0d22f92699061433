"""section_report.csv and stage_report.csv."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from pef import pef_pb2 as pb
from pef.decoded_pef import DecodedPef
from runtime.timing.report import PhaseReport, Report, SectionReport
from workbench.export.graphs import stage_graph

Row = dict[str, object]

CHIP = 0
"""Everything runs on one RDU: the only chip, of which a section is the only partition at a time."""


@dataclass(frozen=True)
class Run:
    """A PEF, what was simulated of it, and where its stages and buffers stand in their configurations' graphs."""

    pef: DecodedPef
    report: Report
    graph: nx.MultiDiGraph
    depths: Mapping[str, int]
    """How many stages lie on the longest way to each node from memory."""

    @staticmethod
    def of(pef: DecodedPef, report: Report) -> Run:
        """The run of a report."""
        graph = stage_graph(pef.record)
        return Run(pef, report, graph, _depths(graph))

    def node(self, section: SectionReport, phase: int, position: int) -> str:
        """The node of a stage."""
        return f"c{section.configuration}/{phase}.{position}"


def _depths(graph: nx.MultiDiGraph) -> dict[str, int]:
    """Depths along the longest way; what goes in a circle (a store to what was loaded) does not occur within one."""
    depths: dict[str, int] = {}
    for node in nx.topological_sort(graph):
        own = 1 if graph.nodes[node]["role"] == "stage" else 0
        depths[node] = own + max((depths[before] for before in graph.predecessors(node)), default=0)
    return depths


def samples(pef: pb.Pef) -> int | None:
    """The samples of one run: the first extent of the first input that has one; None where there is none."""
    metadata = json.loads(pef.header.metadata_json or "{}")
    shapes = [shape for shape in metadata.get("inputs", {}).values() if shape]
    return int(shapes[0][0]) if shapes else None


def section_rows(run: Run) -> Iterator[Row]:
    """A row for each section, in the order they run."""
    report = run.report
    count = samples(run.pef.record)
    for section in report.sections:
        seconds = report.us(section.cycles) * 1e-6
        execution = section.execution
        read, write = sum(execution.read_bytes), sum(execution.write_bytes)
        yield {
            "section_id": section.index,
            "chip_id": CHIP,
            "partition_id": 0,
            "section type": section.kind,
            "measured throughput (samples/s)": f"{count / seconds:.2f}" if count else "",
            "latency (cycles)": round(section.cycles),
            "latency (sec)": f"{seconds:.9f}",
            "DDR read GB/s": f"{read / seconds / 1e9:.4f}",
            "DDR write GB/s": f"{write / seconds / 1e9:.4f}",
            "DDR total GB/s": f"{(read + write) / seconds / 1e9:.4f}",
            "PMU count": execution.pmu.allocated,
            "PMU utilization": f"{execution.pmu.allocated_utilisation:.4f}",
            "PCU count": execution.pcu.allocated,
            "PCU utilization": f"{execution.pcu.allocated_utilisation:.4f}",
        }


def stage_rows(run: Run) -> Iterator[Row]:
    """A row for each stage, and one of stage id -1 for each buffer between stages."""
    for section in run.report.sections:
        ids = _stage_ids(section, run)
        for number, phase in enumerate(section.execution.phases):
            for position, stage in enumerate(phase.stages):
                node = run.node(section, number, position)
                yield {
                    "section id": section.index,
                    "stage depth": run.depths[node],
                    "stage id": ids[node],
                    "related stage ids": _listed(_neighbours(run.graph, node, ids)),
                    "non-buffer template names": stage.name,
                    "latency (cycles)": round(stage.latency_cycles),
                    "interval (cycles)": stage.interval_cycles,
                    "total latency (cycles)": round(_total(phase)[position]),
                    "latency (sec)": f"{run.report.us(stage.latency_cycles) * 1e-6:.9f}",
                }
        for node, facts in run.graph.nodes(data=True):
            if facts["role"] == "buffer" and facts["configuration"] == section.configuration:
                yield {
                    "section id": section.index,
                    "stage depth": run.depths[node],
                    "stage id": -1,
                    "related stage ids": _listed(sorted({ids[n] for n in _around(run.graph, node) if n in ids})),
                }


def _stage_ids(section: SectionReport, run: Run) -> dict[str, int]:
    """Stages are numbered from 0 within their section."""
    nodes = [
        run.node(section, number, position)
        for number, phase in enumerate(section.execution.phases)
        for position in range(len(phase.stages))
    ]
    return {node: number for number, node in enumerate(nodes)}


def _around(graph: nx.MultiDiGraph, node: str) -> set[str]:
    return {*graph.predecessors(node), *graph.successors(node)}


def _neighbours(graph: nx.MultiDiGraph, node: str, ids: Mapping[str, int]) -> list[int]:
    """The stages on the other sides of a stage's buffers."""
    return sorted({ids[n] for buffer in _around(graph, node) for n in _around(graph, buffer) if n in ids and n != node})


def _total(phase: PhaseReport) -> list[float]:
    """From the first firing of each stage to the end of its last."""
    return [stage.starts[-1] + stage.interval_cycles - stage.starts[0] for stage in phase.stages]


def _listed(items: Sequence[object]) -> str:
    return " ".join(map(str, items))
