"""Everything a report says, as plain data: the page draws it, `--json` prints it.

Joined from end to end: a source line leads to operators, these to stages of sections, stages to units, buffers, cycles
and the critical path, and the other way round. Sections with the same configuration in the same memory share one
`execution`. Times are cycles of the simulated machine unless a name says otherwise; sizes are bytes.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pef import pef_pb2 as pb
from pef.decoded import Configuration
from pef.machine import SiteKind
from runtime.profile.roofline import peak_flops_per_cycle
from runtime.timing import Report
from runtime.timing.report import SectionReport
from workbench.report.causes import causes, verdict
from workbench.report.execution import execution_facts
from workbench.report.floorplan import floorplan
from workbench.report.lines import line_facts, sources
from workbench.report.memory import plan, traffic

Facts = dict[str, Any]


def facts(pef: pb.Pef, report: Report, folder: Path = Path()) -> Facts:
    """The facts of a simulated step; source files are looked for from `folder`."""
    configurations = {
        section.configuration: Configuration.of(
            pef.configurations[section.configuration], report.machine, f"configuration {section.configuration}"
        )
        for section in report.sections
    }
    numbers: dict[int, int] = {}
    executions: list[Facts] = []
    for section in report.sections:
        if id(section.execution) not in numbers:
            numbers[id(section.execution)] = len(executions)
            decoded = configurations[section.configuration]
            executions.append({"configuration": section.configuration, **execution_facts(decoded, section.execution)})
    places: dict[tuple[str, int, str], int] = {}
    sections = [_section(section, numbers[id(section.execution)], places) for section in report.sections]
    lines = line_facts(report, configurations)
    return {
        "name": report.name,
        "time": "simulated",
        "toolchain_version": pef.header.toolchain_version,
        "options": json.loads(pef.header.options_json or "{}"),
        "replicas": report.replicas.count,
        "machine": _machine(report),
        "verdict": verdict(pef, report),
        "causes": causes(pef, report),
        "sections": sections,
        "executions": executions,
        "floorplans": {number: floorplan(decoded) for number, decoded in configurations.items()},
        "places": [list(place) for place in places],
        "lines": lines,
        "sources": sources(list(dict.fromkeys(line["file"] for line in lines)), folder),
        "traffic": traffic(pef, report),
        "symbols": plan(pef),
    }


def _machine(report: Report) -> Facts:
    machine = report.machine
    pcus, pmus = (len(machine.working_sites(kind)) for kind in (SiteKind.PCU, SiteKind.PMU))
    rates = [machine.tier_bytes_per_cycle(tier) for tier in range(len(machine.tiers))]
    return {
        **dataclasses.asdict(machine),
        "pcus": pcus,
        "pmus": pmus,
        "peak_flops_per_cycle": peak_flops_per_cycle(machine),
        "tier_bytes_per_cycle": rates,
    }


def _section(section: SectionReport, execution: int, places: dict[tuple[str, int, str], int]) -> Facts:
    locations = [(location.file, location.line, location.module) for location in section.locations]
    return {
        "name": section.name,
        "kind": section.kind,
        "configuration": section.configuration,
        "execution": execution,
        "start": section.start,
        "launch": section.launch_cycles,
        "program_load": section.program_load_cycles,
        "argument_load": section.argument_load_cycles,
        "cycles": section.cycles,
        "bound": section.bound.name.lower(),
        "symbols": list(section.symbols),
        "places": [places.setdefault(location, len(places)) for location in locations],
    }
