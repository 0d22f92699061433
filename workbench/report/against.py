"""Two PEFs side by side: what was asked for differently, and where the times went."""

from __future__ import annotations

import json
from typing import Any

from pef import pef_pb2 as pb
from runtime.timing import Report
from workbench.report.causes import WORDS, verdict

NOTICEABLE_SHARE = 0.001
"""Of a step's time: what is below in both is no row."""

Facts = dict[str, Any]


def against(own: Facts, pef: pb.Pef, report: Report) -> Facts:
    """The other verdict, options that differ as (name, own, other), and rows in microseconds as (name, other, own)."""
    other = verdict(pef, report)
    options = json.loads(pef.header.options_json or "{}")
    names = sorted(own["options"].keys() | options.keys())
    differing = [(n, own["options"].get(n), options.get(n)) for n in names if own["options"].get(n) != options.get(n)]
    return {
        "name": report.name,
        "machine": report.machine.name,
        "clock_ghz": report.machine.clock_ghz,
        "batch_size": options.get("batch_size"),
        **other,
        "options": differing,
        "rows": _rows(own, other, options, report),
    }


def _rows(own: Facts, other: Facts, options: Facts, report: Report) -> list[tuple[str, float, float]]:
    def own_us(cycles: float) -> float:
        return cycles / (float(own["machine"]["clock_ghz"]) * 1e3)

    rows = [("a step", report.us(other["cycles"]), own_us(own["verdict"]["cycles"]))]
    theirs_batch, own_batch = options.get("batch_size"), own["options"].get("batch_size")
    if theirs_batch and own_batch:
        rows.append(("per sample", rows[0][1] / theirs_batch, rows[0][2] / own_batch))
    kinds = {section["kind"]: 0.0 for section in own["sections"]} | {section.kind: 0.0 for section in report.sections}
    for kind in kinds:
        theirs = sum(section.cycles for section in report.sections if section.kind == kind)
        mine = sum(section["cycles"] for section in own["sections"] if section["kind"] == kind)
        rows.append((f"{kind} sections", report.us(theirs), own_us(mine)))
    for bound, words in WORDS.items():
        name = bound.name.lower()
        theirs, mine = other["spent"].get(name, 0.0), own["verdict"]["spent"].get(name, 0.0)
        if max(report.us(theirs) / rows[0][1], own_us(mine) / rows[0][2]) >= NOTICEABLE_SHARE:
            rows.append((words, report.us(theirs), own_us(mine)))
    return rows
