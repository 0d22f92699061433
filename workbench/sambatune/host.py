"""snprof/summary.csv and analysis/summary.json: where the time of a run goes, seen from the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ir.graph import SymbolKind
from pef import pef_pb2 as pb
from pef.codec import decode_type
from runtime.timing.report import Report, SectionReport
from workbench.sambatune.sections import CHIP, Row, Run

TOP = 3

HOST_BOUND = 0.2
"""The host's share from which a run is called host bound; from a quarter of that, mildly."""

NOT_SIMULATED = ("SAMBA", "PYTHON TO C", "CONV FUNC")
"""Work of the vendor's own host software. There is none of it here, so their columns are empty, not zero."""


def breakdown_ns(run: Run) -> dict[str, float]:
    """Simulated nanoseconds of what the machine and its host links do in one run."""
    report, sections = run.report, run.report.sections
    moved = _host_bytes(run.pef.record)
    parts = {
        "RUN SETUP": report.ns(sum(s.launch_cycles + s.program_load_cycles for s in sections)),
        "RUN HW": report.ns(sum(s.execution.cycles for s in sections)),
        "XFER": moved / report.machine.host_bytes_per_s * 1e9,
        "ARGINS": report.ns(sum(s.argument_load_cycles for s in sections)),
    }
    return {"TOTAL": sum(parts.values()), **parts}


def _host_bytes(pef: pb.Pef) -> int:
    """What crosses the host's link in a run: inputs one way, outputs the other."""
    crossing = (SymbolKind.INPUT.value, SymbolKind.OUTPUT.value)
    return sum(decode_type(symbol.type).nbytes for symbol in pef.symbols if symbol.kind in crossing)


def summary_rows(run: Run) -> Iterator[Row]:
    """One row: nsec, sec and percent of everything."""
    parts = breakdown_ns(run)
    row: Row = {}
    for name in ("TOTAL", "SAMBA", "PYTHON TO C", "RUN SETUP", "RUN HW", "XFER", "ARGINS", "CONV FUNC"):
        known = name not in NOT_SIMULATED
        row[f"{name} (nsec)"] = round(parts[name]) if known else ""
        row[f"{name} (sec)"] = f"{parts[name] * 1e-9:.9f}" if known else ""
        row[f"{name} (percent)"] = f"{100 * parts[name] / parts['TOTAL']:.2f}" if known else ""
    yield row


def analysis(run: Run) -> dict[str, Any]:
    """The summary's three parts, in sentences; all times are simulated, and it says so."""
    parts = breakdown_ns(run)
    host = (parts["TOTAL"] - parts["RUN HW"]) / parts["TOTAL"]
    overview = [f"Host takes {100 * host:.1f} % of the total latency.", _verdict(host)]
    overview.append("All times are simulated; the vendor's host software is not part of them.")
    waits = sorted(((ns, name) for name, ns in parts.items() if name not in ("TOTAL", "RUN HW")), reverse=True)
    slowest = sorted(run.report.sections, key=lambda section: -section.cycles)
    return {
        "Overview": overview,
        "Host": [f"{name} takes {100 * ns / parts['TOTAL']:.1f} % of the total latency." for ns, name in waits[:TOP]],
        "RDU": [_section(run.report, section) for section in slowest[:TOP]],
    }


def _verdict(host: float) -> str:
    if host > HOST_BOUND:
        return "This model could be Host bound."
    return "This model could be mildly Host bound." if host > HOST_BOUND / 4 else "This model could be RDU bound."


def _section(report: Report, section: SectionReport) -> dict[str, Any]:
    share = section.cycles / report.cycles if report.cycles else 0.0
    moved = sum(section.execution.read_bytes) + sum(section.execution.write_bytes)
    rate = moved / max(1e-12, report.us(section.cycles) * 1e3)
    stages = [stage for phase in section.execution.phases for stage in phase.stages]
    slowest = sorted(stages, key=lambda stage: -stage.time.busy)
    return {
        f"chip {CHIP}, section {section.index} takes {100 * share:.1f} % of the RDU latency. "
        f"The total DDR bandwidth is {rate:.2f} GB/s.": [
            {
                "template": stage.name,
                "nodes": [str(section.locations[o]) for o in stage.operations if o < len(section.locations)],
            }
            for stage in slowest[:TOP]
        ]
    }
