"""What a compile tells the user at its end: sections, totals, advice."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compiler.driver import CompileResult
from ir.graph import SymbolKind
from pef import pef_pb2 as pb
from pef.machine import SiteKind
from pef.wording import counted, loop_counts


def as_dict(result: CompileResult) -> dict[str, Any]:
    """The report for machines: plain values, cycles and microseconds of modelled time, bytes."""
    return {
        "pef": str(result.pef_path),
        "pef_bytes": result.pef_path.stat().st_size,
        "weights": str(result.weights_path),
        "log": str(result.log_path),
        "machine": result.machine.name,
        "avoided": avoided(result),
        "starts": starts(result),
        "sections": [_section(result, section) for section in result.pef.sections],
        "total_predicted_us": _microseconds(result, _total_cycles(result.pef)),
        "configurations": len(result.pef.configurations),
        "passes": [{"name": t.name, "seconds": t.seconds, "nodes": t.nodes} for t in result.pass_timings],
        "preset_us": {name: _microseconds(result, cycles) for name, cycles in result.gains.items()},
        "advice": advice(result),
    }


def starts(result: CompileResult) -> str:
    """Which outputs gradients start from, in one line; '' where the program has no gradients."""
    given = [s.name.removesuffix(".grad") for s in result.program.symbols if s.kind is SymbolKind.OUTPUT_GRADIENT]
    losses = json.loads(result.pef.header.metadata_json)["losses"]
    zeros = [name for name in given if name not in losses]
    parts = [f"ones at {', '.join(losses)}" if losses else "", f"zeros at {', '.join(zeros)}" if zeros else ""]
    return f"gradients start from {', from '.join(filter(None, parts))}" if given else ""


def avoided(result: CompileResult) -> dict[str, Any]:
    """The hardware that the mapping leaves alone: excluded RDU tiles, faulty units in all, and AGCUs that are left."""
    machine = result.machine
    return {
        "rdu_tiles": sorted(machine.excluded_rdu_tiles()),
        "units": len(machine.faulty_sites),
        "agcus_left": len(machine.agcu_sites),
    }


def _section(result: CompileResult, section: pb.Section) -> dict[str, Any]:
    configuration = result.pef.configurations[section.configuration]
    prediction = section.prediction
    stages = [stage for phase in configuration.phases for stage in phase.stages]
    kinds = [result.machine.kind(unit.site) for unit in configuration.units]
    return {
        "name": section.name,
        "kind": section.kind,
        "rule": section.rule,
        "configuration": section.configuration,
        "operators": sum(len(stage.operations) for stage in stages),
        "stages": len(stages),
        "phases": len(configuration.phases),
        "loops": [list(phase.loops) for phase in configuration.phases],
        "pcus": kinds.count(SiteKind.PCU),
        "pmus": kinds.count(SiteKind.PMU),
        "predicted_us": _microseconds(result, prediction.cycles),
        "load_us": _microseconds(result, prediction.load_cycles),
        "bound": prediction.bound,
        "flops": prediction.flops,
        "dram_read_bytes": prediction.dram_read_bytes,
        "dram_write_bytes": prediction.dram_write_bytes,
    }


def _total_cycles(pef: pb.Pef) -> float:
    return sum(section.prediction.cycles + section.prediction.load_cycles for section in pef.sections)


def _microseconds(result: CompileResult, cycles: float) -> float:
    return cycles / (result.machine.clock_ghz * 1e3)


def advice(result: CompileResult) -> list[str]:
    """What to change, each line computed from this compile's own numbers."""
    lines = []
    sections = [_section(result, section) for section in result.pef.sections]
    total = sum(s["predicted_us"] + s["load_us"] for s in sections)
    load = sum(s["load_us"] for s in sections)
    if load > 0.5 * total:
        lines.append(
            f"loading {counted(len(sections), 'section')} takes {load / total:.0%} of the modelled time: "
            "a larger batch (-b) would spread it over more samples"
        )
    own = result.gains.get(_preset(result))
    best = min(result.gains, key=lambda name: result.gains[name], default=None)
    if own and best and result.gains[best] < 0.95 * own:
        lines.append(f"--graphamp-preset {best} is modelled to take {result.gains[best] / own:.0%} of this time")
    memory = [s for s in sections if s["bound"] == "dram"]
    if memory:
        worst = max(memory, key=lambda s: s["predicted_us"])
        moved = (worst["dram_read_bytes"] + worst["dram_write_bytes"]) / 2**20
        lines.append(f"{worst['name']} waits for memory: it moves {moved:.1f} MiB; a larger batch or bf16 helps")
    return lines


def _preset(result: CompileResult) -> str:
    return str(json.loads(result.pef.header.options_json)["preset"])


def render(result: CompileResult, console: Console) -> None:
    """Print the section table, totals, advice and paths."""
    report = as_dict(result)
    name, machine = escape(result.pef.header.name), escape(result.machine.name)
    title = f"{name} on {machine}: predicted time (snrun --profile simulates it)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    by_rule = ("rule",) if any(section["rule"] for section in report["sections"]) else ()
    left = ("section", "rule", "loops", "bound by")
    for heading in (
        "section",
        *by_rule,
        "ops",
        "PCUs",
        "PMUs",
        "loops",
        "exec us",
        "load us",
        *left[3:],
        "read",
        "write",
    ):
        table.add_column(heading, justify="left" if heading in left else "right")
    for section in report["sections"]:
        table.add_row(
            escape(section["name"]),
            *(escape(section[key]) for key in by_rule),
            str(section["operators"]),
            str(section["pcus"]),
            str(section["pmus"]),
            _short(section["loops"]),
            f"{section['predicted_us']:.1f}",
            f"{section['load_us']:.1f}",
            section["bound"],
            _bytes(section["dram_read_bytes"]),
            _bytes(section["dram_write_bytes"]),
        )
    console.print(table)
    console.print(
        f"{counted(len(report['sections']), 'section')}, {counted(report['configurations'], 'configuration')}; "
        f"predicted {report['total_predicted_us']:.1f} us of RDU time for all of them"
    )
    if report["avoided"]["units"] or json.loads(result.pef.header.options_json)["avoid"]:
        left = report["avoided"]
        tiles = ", ".join(map(str, left["rdu_tiles"])) or "none"
        units = counted(left["units"], "unit")
        console.print(f"mapped around {units} (whole RDU tiles: {tiles}), with {left['agcus_left']} AGCUs")
    if starts(result):
        console.print(starts(result), soft_wrap=True, highlight=False, markup=False)
    for line in report["advice"]:
        console.print(f"advice: {line}", soft_wrap=True, markup=False)
    console.print(f"PEF {report['pef']} ({_bytes(report['pef_bytes'])})", soft_wrap=True, markup=False)
    console.print(f"initial weights and recorded inputs {report['weights']}", soft_wrap=True, markup=False)


def _short(phases: list[list[int]]) -> str:
    """The loop counts of the phases; of many, the first few."""
    return " ".join(map(loop_counts, phases[:4])) + (" ..." if len(phases) > 4 else "")


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def render_passes(result: CompileResult, console: Console) -> None:
    """Print how long each pass took and how many nodes it left."""
    table = Table(title="Passes (host time)")
    for heading in ("pass", "ms", "nodes after"):
        table.add_column(heading, justify="left" if heading == "pass" else "right")
    for timing in result.pass_timings:
        table.add_row(timing.name, f"{timing.seconds * 1e3:.1f}", str(timing.nodes))
    console.print(table)
