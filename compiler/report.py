"""What a compile tells the user at its end: sections, totals, advice."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from compiler.driver import CompileResult
from compiler.pass_manager import PassTiming
from ir.graph import SymbolKind
from pef import describe_columns as columns
from pef import pef_pb2 as pb
from pef.facts import section_summary
from pef.tables import Column, largest, number, print_table, shown_of, text
from pef.wording import counted, size


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
        "sections": [section_summary(result.pef, section, result.machine) for section in result.pef.sections],
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


def _total_cycles(pef: pb.Pef) -> float:
    return sum(section.prediction.cycles + section.prediction.load_cycles for section in pef.sections)


def _microseconds(result: CompileResult, cycles: float) -> float:
    return cycles / (result.machine.clock_ghz * 1e3)


def advice(result: CompileResult) -> list[str]:
    """What to change, each line computed from this compile's own numbers."""
    lines = []
    sections = [section_summary(result.pef, section, result.machine) for section in result.pef.sections]
    total = sum(s["predicted_us"] + s["load_us"] for s in sections)
    load = sum(s["load_us"] for s in sections)
    if load > 0.5 * total:
        share = f"{load / total:.0%} of the modelled time"
        lines.append(f"loading {counted(len(sections), 'section')} takes {share}: a larger batch shares it")
    own = result.gains.get(_preset(result))
    best = min(result.gains, key=lambda name: result.gains[name], default=None)
    if own and best and result.gains[best] < 0.95 * own:
        lines.append(f"--graphamp-preset {best} is modelled to take {result.gains[best] / own:.0%} of this time")
    memory = [s for s in sections if s["bound"] == "dram"]
    if memory:
        worst = max(memory, key=lambda s: s["predicted_us"])
        moved = (worst["dram_read_bytes"] + worst["dram_write_bytes"]) / 2**20
        lines.append(f"{worst['name']} waits for memory: it moves {moved:.1f} MiB")
    return lines


def _preset(result: CompileResult) -> str:
    return str(json.loads(result.pef.header.options_json)["preset"])


def render(result: CompileResult, console: Console, top: int = 10) -> None:
    """Print the `top` slowest sections (0: all), totals, advice and paths."""
    report = as_dict(result)
    sections = report["sections"]
    shown = largest(sections, lambda section: section["predicted_us"] + section["load_us"], top)
    title = f"{result.pef.header.name} on {result.machine.name}, times as predicted"
    print_table(console, f"{title}{shown_of(shown, sections, 'slowest')}", columns.sections(shown), shown)
    console.print(
        f"\n{counted(len(sections), 'section')}, {counted(report['configurations'], 'configuration')}; "
        f"predicted {report['total_predicted_us']:,.1f} us of RDU time for all of them (snrun --profile simulates it)",
        soft_wrap=True,
        highlight=False,
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
    console.print(f"PEF {report['pef']} ({size(report['pef_bytes'])})", soft_wrap=True, markup=False)
    console.print(f"initial weights and recorded inputs {report['weights']}", soft_wrap=True, markup=False)


def render_passes(result: CompileResult, console: Console) -> None:
    """Print how long each pass took and how many nodes it left."""
    shown: list[Column[PassTiming]] = [
        text("pass", lambda timing: timing.name),
        number("ms", lambda timing: f"{timing.seconds * 1e3:.1f}"),
        number("nodes after", lambda timing: str(timing.nodes)),
    ]
    print_table(console, "passes (host time)", shown, result.pass_timings)
