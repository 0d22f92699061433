"""What the cut weighed against each section that it chose, and why it did not take it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backends.rdu.compile import BUDGETS, BackendOptions
from backends.rdu.cut.search import WINDOW
from backends.rdu.cut.ways import Section
from backends.rdu.fuse.stages import StageNodes
from ir.graph import Program
from pef.machine import Machine
from pef.wording import counted, duration

SHOWN = 2
"""Rivals with fewer stages, and as many with more."""

Facts = dict[str, Any]


def considered(program: Program, machine: Machine, options: BackendOptions) -> list[Facts]:
    """For every section of the first budget: how many stages it has, where it ends, and its rivals.

    Empty where sections are not searched for, at o0 and o1.
    """
    if not options.fuse:
        return []
    found = []
    for graph in program.graphs:
        partition = options.partition(graph, machine, BUDGETS[0])
        start = 0
        for number, section in enumerate(section for section in partition.sections if section.length):
            rest = partition.stages[start:]
            found.append(
                {
                    "name": f"{graph.name or graph.kind.value.lower()}_{number}",
                    "stages": section.length,
                    "ends_after": _place(rest[section.length - 1]),
                    "alternatives": list(_alternatives(section, rest, machine)),
                }
            )
            start += section.length
    return found


def _alternatives(section: Section, stages: Sequence[StageNodes], machine: Machine) -> Iterator[Facts]:
    shorter = [rival for rival in section.rivals if rival.length < section.length][:SHOWN]
    longer = [rival for rival in section.rivals if rival.length > section.length][:SHOWN]
    for rival in (*shorter, *longer):
        more = "more" if rival.length > section.length else "fewer"
        us = rival.extra_cycles / machine.cycles(1.0)
        stages_more = counted(abs(rival.length - section.length), "stage")
        yield {
            "what": f"{stages_more} {more}, to {_place(stages[rival.length - 1])}",
            "why": f"all sections would take {duration(us)} longer in the cut's model",
        }
    longest = max((section.length, *(rival.length for rival in section.rivals)))
    if longest < len(stages):
        full = f"no way was found that fits {BUDGETS[0]:.0%} of the PCUs and PMUs"
        why = f"a section has at most {WINDOW} stages" if longest >= WINDOW else full
        yield {"what": f"more than {longest} stages", "why": why}


def _place(stage: StageNodes) -> str:
    """A stage by its name and its last operator's line."""
    location = stage.nodes[-1].location
    return f"{stage.name} ({location.place})"
