"""The user's lines by what they cost: cycles of the critical path, traced back from stages to source.

The cycles of a stage go to its operators in proportion to their arithmetic; those of a load to the stages that read
what it brings, those of a store to the stage that made it. Loading sections belongs to no line and is listed apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pef.decoded import Configuration, Stage
from runtime.timing.report import Execution, Report
from workbench.report.execution import path_by_actor

MOST_SOURCE_LINES = 4000
"""Of a file that is quoted."""

Facts = dict[str, Any]
Shares = dict[int, float]
"""Cycles by the number of an operator within its configuration."""


def line_facts(report: Report, configurations: Mapping[int, Configuration]) -> list[Facts]:
    """Source lines with their cycles, the most expensive first; sections and operators as they were met."""
    shares: dict[int, Shares] = {}
    found: dict[tuple[str, int], Facts] = {}
    for section in report.sections:
        key = id(section.execution)
        if key not in shares:
            shares[key] = operator_cycles(configurations[section.configuration], section.execution)
        names = [n for phase in section.execution.phases for stage in phase.stages for n in stage.operators]
        for operator, cycles in shares[key].items():
            if operator >= len(section.locations):
                continue
            place = section.locations[operator]
            line = found.setdefault(
                (place.file, place.line),
                {"file": place.file, "line": place.line, "cycles": 0.0, "operators": {}, "sections": {}},
            )
            line["cycles"] += cycles
            line["operators"][names[operator]] = line["operators"].get(names[operator], 0) + 1
            line["sections"][section.index] = line["sections"].get(section.index, 0.0) + cycles
    total = report.cycles or 1.0
    ranked = sorted(found.values(), key=lambda line: (-line["cycles"], line["file"], line["line"]))
    return [{**line, "share": line["cycles"] / total} for line in ranked]


def operator_cycles(configuration: Configuration, execution: Execution) -> Shares:
    """Cycles of the critical path by operator; operators without any are there with none."""
    shares: Shares = defaultdict(float)
    numbers = _numbers(configuration)
    for (phase, kind, index), spent in path_by_actor(execution).items():
        if not kind:
            continue
        stages = [(phase, index)] if kind == "stage" else _served(configuration, phase, index)
        for stage in stages:
            weights = _weights(configuration.phases[stage[0]].stages[stage[1]])
            for number, weight in zip(numbers[stage], weights):
                shares[number] += sum(spent.values()) / len(stages) * weight
    for group in numbers.values():
        for number in group:
            shares[number] += 0.0
    return dict(sorted(shares.items()))


def _numbers(configuration: Configuration) -> dict[tuple[int, int], range]:
    """The numbers of each stage's operators, by phase and stage."""
    found, start = {}, 0
    for phase, record in enumerate(configuration.phases):
        for index, stage in enumerate(record.stages):
            found[phase, index] = range(start, start + len(stage.body.applications))
            start += len(stage.body.applications)
    return found


def _served(configuration: Configuration, phase: int, index: int) -> list[tuple[int, int]]:
    """The stages that read what a stream loads, or write what it stores."""
    stream = configuration.phases[phase].streams[index]
    accesses = configuration.writers if stream.store else configuration.readers
    found = [(access.phase, access.actor[1]) for access in accesses[stream.buffer] if access.actor[0] == "stage"]
    return list(dict.fromkeys(found))


def _weights(stage: Stage) -> list[float]:
    """The part of each operator in a stage's arithmetic; what only rearranges has none unless it is alone."""
    flops = [0 if o.op.is_free else 1 + o.op.flops(*o.operands) for o in stage.body.tile_operations]
    total = sum(flops)
    return [value / total for value in flops] if total else [1 / len(flops)] * len(flops)


def sources(files: Sequence[str], folder: Path) -> dict[str, list[str]]:
    """The text of files as they are now, where they can be read: lines by the name that the PEF has for them."""
    found = {}
    for name in files:
        path = folder / name
        if path.is_file() and path.suffix == ".py":
            found[name] = path.read_text(errors="replace").splitlines()[:MOST_SOURCE_LINES]
    return found
