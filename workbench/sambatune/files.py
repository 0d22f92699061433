"""The files of a SambaTune run, under their public names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from pef import pef_pb2 as pb
from pef.check import check
from pef.files import write_bytes
from runtime.timing import simulate
from workbench.sambatune.host import analysis, summary_rows
from workbench.sambatune.nets import bandwidth_rows, path_rows, stall_rows
from workbench.sambatune.sections import Row, Run, section_rows, stage_rows


def contents(pef: pb.Pef) -> dict[str, str]:
    """Every report file, by its path, of one simulated run of all sections. Raises IllegalPefError."""
    decoded = check(pef)
    run = Run.of(decoded, simulate(decoded))
    return {
        "snprof/summary.csv": _csv(summary_rows(run)),
        "section_report.csv": _csv(section_rows(run)),
        "stage_report.csv": _csv(stage_rows(run)),
        "bandwidth_report.csv": _csv(bandwidth_rows(run)),
        "paths_report.csv": _csv(path_rows(run)),
        "pmu_stalls.csv": _csv(stall_rows(run)),
        "analysis/summary.json": json.dumps(analysis(run), indent=2) + "\n",
    }


def write(pef: pb.Pef, folder: Path) -> list[Path]:
    """Write the files below `folder`. Raises UsageError where the file system refuses."""
    paths = []
    for name, text in contents(pef).items():
        write_bytes(folder / name, text.encode())
        paths.append(folder / name)
    return paths


def _csv(rows: Iterable[Row]) -> str:
    """The rows with a heading; a cell that a row lacks is empty."""
    rows = list(rows)
    heading = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, heading, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
