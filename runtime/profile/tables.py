"""What a timing report says to people (tables) and to programs (a dictionary for --json).

The words are those RDU users know: exec, pload and aload of a section, latency and share of a stage, slowdowns and
stalls. Every time is simulated, and says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ir.op import OPS, CostClass
from pef.tables import Column, largest, mib, number, print_note, print_table, shown_of, text
from pef.wording import counted, loop_counts
from runtime.profile.advice import advice, grouped
from runtime.timing.report import Report, SectionReport, StageReport, StreamReport

if TYPE_CHECKING:
    from rich.console import Console


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain data: microseconds (simulated), bytes, GB/s, TFLOPS, and shares between 0 and 1."""
    return {
        "name": report.name,
        "simulated": True,
        "machine": {"name": report.machine.name, "clock_ghz": report.machine.clock_ghz},
        "replicas": {"count": report.replicas.count, "on_rdu": report.replicas.on_rdu},
        "total": _totals(report, report.sections),
        "kinds": {kind: _totals(report, sections) for kind, sections in _by_kind(report).items()},
        "sections": [_section(report, section) for section in report.sections],
        "advice": advice(report),
    }


def render(report: Report, console: Console, top: int = 10) -> None:
    """Print the `top` slowest sections and stages (0: all), the totals and the advice."""
    from rich.markup import escape

    data = as_dict(report)
    total = data["total"]
    console.print(
        f"[bold]{escape(report.name)}[/bold] on {escape(report.machine.name)} at {report.machine.clock_ghz:g} GHz: "
        f"{total['latency_us']:,.1f} us simulated time in {counted(total['sections'], 'section')}",
        soft_wrap=True,
    )
    if report.replicas.count > 1:
        way = "from RDU to RDU" if report.replicas.on_rdu else "by the host"
        console.print(f"One of {report.replicas.count} replicas, which average gradients {way}.")
    sections, stages = data["sections"], _stage_rows(report, data)
    slowest = largest(sections, lambda section: section["latency_us"], top)
    print_table(console, f"sections{shown_of(slowest, sections, 'slowest')}", SECTIONS, slowest)
    print_note(console, SECTIONS_NOTE)
    busiest = largest(stages, lambda stage: stage["step_share"], top)
    print_table(console, f"stages{shown_of(busiest, stages, 'busiest')}", STAGES, busiest)
    print_note(console, STAGES_NOTE)
    print_table(console, "totals", TOTALS, [*data["kinds"].items(), ("step", data["total"])])
    console.print()
    for sentence in data["advice"]:
        console.print(f"- {sentence}", highlight=False, soft_wrap=True, markup=False)


def _stage_rows(report: Report, data: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of all distinct sections, with where they belong and their share of the whole time."""
    rows = []
    for sections in grouped(report):
        section = data["sections"][report.sections.index(sections[0])]
        others = f" and {len(sections) - 1} more" if len(sections) > 1 else ""
        spent = sum(each.execution.cycles for each in sections)
        for index, phase in enumerate(section["phases"]):
            for stage in phase["stages"]:
                share = _ratio(stage["share"] * spent, report.cycles)
                where = {"section": section["name"] + others, "phase": index, "step_share": share}
                rows.append({**stage, **where})
    return rows


def _by_kind(report: Report) -> dict[str, list[SectionReport]]:
    kinds: dict[str, list[SectionReport]] = {}
    for section in report.sections:
        kinds.setdefault(section.kind, []).append(section)
    return kinds


def _totals(report: Report, sections: Sequence[SectionReport]) -> dict[str, Any]:
    cycles = sum(section.cycles for section in sections)
    executing = sum(section.execution.cycles for section in sections)
    flops = sum(section.execution.flops for section in sections)
    read = sum(sum(section.execution.read_bytes) for section in sections)
    write = sum(sum(section.execution.write_bytes) for section in sections)
    return {
        "sections": len(sections),
        "latency_us": report.us(cycles),
        "share": _ratio(cycles, report.cycles),
        "exec_us": report.us(executing),
        "launch_us": report.us(sum(section.launch_cycles for section in sections)),
        "pload_us": report.us(sum(section.program_load_cycles for section in sections)),
        "aload_us": report.us(sum(section.argument_load_cycles for section in sections)),
        "dram_read_bytes": read,
        "dram_write_bytes": write,
        "flops": flops,
        "tflops": _per_second(report, flops, cycles) / 1e12,
    }


def _section(report: Report, section: SectionReport) -> dict[str, Any]:
    execution = section.execution
    return {
        "index": section.index,
        "kind": section.kind,
        "name": section.name,
        "configuration": section.configuration,
        "start_us": report.us(section.start),
        **_totals(report, [section]),
        "bound": section.bound.name.lower(),
        "path_us": {bound.name.lower(): report.us(cycles) for bound, cycles in execution.path.items()},
        "pcu": _units(section, "pcu"),
        "pmu": _units(section, "pmu"),
        "dram": [
            {
                "tier": tier.name,
                "read_gb_per_s": _per_second(report, read, execution.cycles) / 1e9,
                "write_gb_per_s": _per_second(report, write, execution.cycles) / 1e9,
                "peak_gb_per_s": tier.bandwidth_bytes_per_s / 1e9,
            }
            for tier, read, write in zip(report.machine.tiers, execution.read_bytes, execution.write_bytes)
        ],
        "phases": [
            {
                "loops": list(phase.loops),
                "start_us": report.us(phase.start),
                "end_us": report.us(phase.end),
                "stages": [_stage(report, section, stage) for stage in phase.stages],
                "streams": [_stream(report, section, stream) for stream in phase.streams],
            }
            for phase in execution.phases
        ],
    }


def _units(section: SectionReport, kind: str) -> dict[str, Any]:
    units = getattr(section.execution, kind)
    return {
        "machine": units.machine,
        "allocated": units.allocated,
        "utilisation": units.utilisation,
        "allocated_utilisation": units.allocated_utilisation,
    }


def _stage(report: Report, section: SectionReport, stage: StageReport) -> dict[str, Any]:
    time = stage.time
    parallel = stage.parallelism
    return {
        "name": stage.name,
        "operators": list(stage.operators),
        "sources": _sources(section, stage),
        "parallelism": {
            "batch": parallel.batch,
            "row": parallel.row,
            "column": parallel.column,
            "chain": parallel.chain,
        },
        "pcus": parallel.units,
        "pmus": stage.pmus,
        "level": stage.level,
        "loops": list(stage.loops),
        "tiles": stage.events,
        "cycles_per_tile": stage.interval_cycles,
        "compute_cycles": stage.compute_cycles,
        "port_cycles": stage.port_cycles,
        "network_cycles": stage.network_cycles,
        "exchange_cycles": stage.exchange_cycles,
        "slowdown_factor": stage.interval_cycles / stage.compute_cycles,
        "latency_us": report.us(stage.latency_cycles),
        "busy": _ratio(time.busy, time.total),
        "share": _ratio(time.busy, section.execution.cycles),
        "stalls": {
            cause: _ratio(getattr(time, cause), time.total)
            for cause in ("input", "output", "dram", "port", "network", "exchange", "fill", "drain")
        },
        "flops": stage.flops,
    }


def _sources(section: SectionReport, stage: StageReport) -> list[str]:
    """The user's lines behind a stage, each once; empty for a section without locations."""
    located = [section.locations[i] for i in stage.operations if i < len(section.locations)]
    return list(dict.fromkeys(location.place for location in located))


def _stream(report: Report, section: SectionReport, stream: StreamReport) -> dict[str, Any]:
    return {
        "symbol": section.symbols[stream.slot],
        "buffer": stream.buffer,
        "direction": "store" if stream.store else "load",
        "whole": stream.whole,
        "tier": report.machine.tiers[stream.tier].name,
        "agcus": list(stream.agcus),
        "bytes": stream.total_bytes,
        "limits_us": {limit.value: report.us(cycles) for limit, cycles in stream.limits.items()},
    }


def _per_second(report: Report, amount: float, cycles: float) -> float:
    return amount / (report.us(cycles) * 1e-6) if cycles else 0.0


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


WORTH_A_LOOK = 0.05
"""Stalls above this share of a stage's time are shown: the threshold RDU users know."""

SECTIONS: list[Column[dict[str, Any]]] = [
    text("section", lambda s: s["name"]),
    number("us", lambda s: f"{s['latency_us']:,.1f}"),
    number("share", lambda s: _percent(s["share"])),
    text("bound by", lambda s: s["bound"]),
    number("phases", lambda s: str(len(s["phases"]))),
    number("exec", lambda s: _percent(_ratio(s["exec_us"], s["latency_us"]))),
    number("pload", lambda s: _percent(_ratio(s["pload_us"], s["latency_us"]))),
    number("aload", lambda s: _percent(_ratio(s["aload_us"] + s["launch_us"], s["latency_us"]))),
    number("PCUs", lambda s: str(s["pcu"]["allocated"])),
    number("PCU busy", lambda s: _percent(s["pcu"]["utilisation"])),
    number("PMUs", lambda s: str(s["pmu"]["allocated"])),
    number("PMU busy", lambda s: _percent(s["pmu"]["utilisation"])),
    number("GB/s in", lambda s: f"{sum(tier['read_gb_per_s'] for tier in s['dram']):,.1f}"),
    number("GB/s out", lambda s: f"{sum(tier['write_gb_per_s'] for tier in s['dram']):,.1f}"),
    number("TFLOPS", lambda s: f"{s['tflops']:,.2f}"),
]
SECTIONS_NOTE = "simulated; in % of the section's time: exec, pload, aload with launch; busy: in % of the chip's units"

STAGES: list[Column[dict[str, Any]]] = [
    text("stage", lambda s: _runs(s["operators"])),
    text("section", lambda s: s["section"]),
    number("phase", lambda s: str(s["phase"])),
    number("share", lambda s: _percent(s["step_share"])),
    number("busy", lambda s: _percent(s["busy"])),
    text("source", lambda s: source_lines(s["sources"])),
    text("stalls", lambda s: _stalls(s["stalls"])),
    number("PCUs", lambda s: str(s["pcus"])),
    number("PMUs", lambda s: str(s["pmus"])),
    number("slow", lambda s: f"{s['slowdown_factor']:.2f}"),
    number("cyc/tile", lambda s: f"{s['cycles_per_tile']:,}"),
    text("tiles", lambda s: loop_counts(s["loops"])),
    text("parallel", lambda s: "x".join(str(n) for n in s["parallelism"].values())),
]
STAGES_NOTE = (
    "simulated; share: % of the whole time in which it fires (stages of a phase overlap); busy, stalls: % of its "
    "phase; slow: how many times as long a tile takes by ports and links; parallel: batch x row x column x chain"
)

Total = tuple[str, dict[str, Any]]
TOTALS: list[Column[Total]] = [
    text("kind", lambda row: row[0]),
    number("sections", lambda row: str(row[1]["sections"])),
    number("us", lambda row: f"{row[1]['latency_us']:,.1f}"),
    number("share", lambda row: _percent(row[1]["share"])),
    number("exec us", lambda row: f"{row[1]['exec_us']:,.1f}"),
    number("pload us", lambda row: f"{row[1]['pload_us']:,.1f}"),
    number("aload us", lambda row: f"{row[1]['aload_us']:,.1f}"),
    number("launch us", lambda row: f"{row[1]['launch_us']:,.1f}"),
    number("TFLOPS", lambda row: f"{row[1]['tflops']:,.2f}"),
    number("read MiB", lambda row: mib(row[1]["dram_read_bytes"])),
    number("write MiB", lambda row: mib(row[1]["dram_write_bytes"])),
]


def _stalls(stalls: dict[str, float]) -> str:
    """`dram 55, port 6`: what the stage waits for, in percent of its time, largest first."""
    shown = sorted(((share, cause) for cause, share in stalls.items() if share >= WORTH_A_LOOK), reverse=True)
    return ", ".join(f"{cause} {100 * share:.0f}" for share, cause in shown)


def _runs(operators: Sequence[str]) -> str:
    """`mul x 7, add` for operators in a row, without those that are address arithmetic."""
    working = [name for name in operators if OPS[name].cost.kind is not CostClass.FREE]
    runs = [(name, len(list(group))) for name, group in itertools.groupby(working)]
    return ", ".join(name if count == 1 else f"{name} x {count}" for name, count in runs)


def source_lines(sources: Sequence[str]) -> str:
    """`model.py:12, 13, 15`, one file to a line; what has no line, such as an optimizer, is a name alone."""
    files: dict[str, list[str]] = {}
    for source in sources:
        file, _, line = source.rpartition(":")
        if not line.isdigit():
            file, line = source, ""
        files.setdefault(file.rpartition("/")[2], []).extend([line] if line else [])
    return "\n".join(f"{file}:{', '.join(lines)}" if lines else file for file, lines in files.items())
