"""What a program has not done by the time it ends, of what its command line asked for: said in a line each.

A verb that a program has no branch for, or an option that the program alone could honour, would otherwise do nothing
and say nothing. After a verb for which nothing was done at all, the exit status is 2, as for one that does not exist.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sambaflow.logging import samba_logger

WRITTEN = {
    "acc_report_json": "AccuracyReport(...).save(args.acc_report_json), or TestWithGold",
    "bench_report_json": "measure_performance(..., json=args.bench_report_json)",
    "json": "measure_performance(..., json=args.json)",
    "json_counters": "measure_performance(..., json_counters=args.json_counters)",
    "compiled_stats_json": "measure_performance(..., compiled_stats_json=args.compiled_stats_json)",
    "resource_report_path": "samba.session.compile",
}
"""Options that name a file which somebody writes: what writes it."""

TESTS = "TestWithGold(args, name, model, inputs, optimizer).test() of sambaflow.samba.test compares CPU and RDU"
MEASURES = "samba.utils.{} measures a PEF, as common_app_driver does"
REMEDIES = {
    "compile": "call samba.session.compile(...)",
    "run": "call samba.utils.trace_graph(..., pef=args.pef) and samba.session.run(...)",
    "test": TESTS,
    "measure-performance": MEASURES.format("measure_performance"),
    "measure-sections": MEASURES.format("measure_sections"),
}


@dataclass
class Progress:
    """What a program was asked for, and what it has done.

    worked: it compiled or loaded a PEF. measured: the verbs that it measured for. honoured: options that were acted on.
    stamps: of the files that options name, when it began. is_own: it was asked on this process's command line.
    """

    arguments: argparse.Namespace | None = None
    is_own: bool = False
    worked: bool = False
    measured: set[str] = field(default_factory=set)
    honoured: set[str] = field(default_factory=set)
    stamps: dict[str, float] = field(default_factory=dict)

    def begin(self, arguments: argparse.Namespace, is_own: bool) -> None:
        """A program has read its command line."""
        self.arguments = arguments
        self.is_own = is_own
        self.worked = False
        self.honoured, self.measured = set(), set()
        self.stamps = {name: _stamp(getattr(arguments, name, None)) for name in WRITTEN}

    def unfinished(self) -> list[str]:
        """What was asked for and not done."""
        if self.arguments is None:
            return []
        return [*self._verb(str(self.arguments.command)), *self._files(), *self._unread()]

    def _verb(self, verb: str) -> list[str]:
        program = Path(sys.argv[0] or "the program").name
        if not self.worked:
            return [f"{program} has done nothing for the verb '{verb}': {REMEDIES[verb]}"]
        if verb.startswith("measure") and verb not in self.measured:
            return [f"{program} has measured nothing for the verb '{verb}': {REMEDIES[verb]}"]
        return []

    def _files(self) -> list[str]:
        given = {name: getattr(self.arguments, name, None) for name in WRITTEN}
        missing = {name: path for name, path in given.items() if path and _stamp(path) == self.stamps[name]}
        return [
            f"--{name.replace('_', '-')} is without effect: nothing wrote {path}; {WRITTEN[name]} would"
            for name, path in missing.items()
        ]

    def _unread(self) -> list[str]:
        gold = getattr(self.arguments, "gold_file_path", None)
        if not gold or "gold_file_path" in self.honoured:
            return []
        return [f"--gold-file-path is without effect: nothing compared with {gold}; {TESTS}"]


progress = Progress()


def _stamp(path: str | None) -> float:
    """When a file was last written; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns if path else 0
    except OSError:
        return 0


def _say() -> None:
    if not progress.is_own or getattr(sys, "last_value", None) is not None:  # an error says enough
        return
    for line in progress.unfinished():
        samba_logger.warning("%s", line)
    if not progress.worked:
        _end_with(2)


def _end_with(status: int) -> None:
    """Give the process an exit status from within its last steps, where an exception would be printed and forgotten."""
    logging.shutdown()
    for file in [each for each in gc.get_objects() if isinstance(each, io.IOBase) and not each.closed]:
        with suppress(OSError, ValueError):
            file.flush()
    os._exit(status)


atexit.register(_say)
