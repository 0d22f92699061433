"""Performance counters of a PEF, from the timing simulation: `python -m sambaflow.samba.utils.read_perf_counters`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pef import file
from pef import pef_pb2 as pb
from runtime.timing import simulate


def counters(pef_path: str) -> dict[str, Any]:
    """Simulated cycles of every section of a file, and what bounds it."""
    return {"pef": pef_path, **counters_of(file.read(pef_path))}


def counters_of(record: pb.Pef) -> dict[str, Any]:
    """Simulated cycles of every section, and what bounds it."""
    report = simulate(record, list(range(len(record.sections))))
    sections = {section.name: {"cycles": section.cycles, "bound": section.bound.value} for section in report.sections}
    return {"cycles": report.cycles, "us": report.us(report.cycles), "sections": sections}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the counters of `-p PEF`, or write them to `--json FILE`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", "--pef", required=True)
    parser.add_argument("--json")
    args = parser.parse_args(argv)
    text = json.dumps(counters(args.pef), indent=2)
    if args.json:
        Path(args.json).write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
