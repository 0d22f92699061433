"""What `snrun` prints: facts for people, or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ir.op import Array
from runtime.session import Session
from runtime.snrun.compare import Comparison

if TYPE_CHECKING:
    from runtime.timing import Report


class Console:
    """Prints as things happen; with `as_json`, collects and prints one object at the end."""

    def __init__(self, as_json: bool, quiet: bool, verbose: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._record: dict[str, Any] = {"notes": []}

    @property
    def shows_progress(self) -> bool:
        """Whether a progress bar helps anyone."""
        return not self.as_json and not self.quiet and sys.stderr.isatty()

    def describe(self, session: Session) -> None:
        """The PEF, and with -v its sections and symbols."""
        counts: dict[str, int] = {}
        for section in session.pef.sections:
            counts[section.kind] = counts.get(section.kind, 0) + 1
        header, machine = session.pef.header, session.pef.machine
        listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        self._record |= {"pef": header.name, "machine": machine.name, "sections": counts, "threads": session.threads}
        noun = "section" if sum(counts.values()) == 1 else "sections"
        self._say(f"{header.name}: {listed} {noun} for {machine.name}, on {session.threads} host threads")
        if self.verbose:
            for number, section in enumerate(session.pef.sections):
                self._say(f"  section {number:<4} {section.kind:<8} {section.name}")
            for symbol in session.symbols.values():
                self._say(f"  symbol  {symbol.kind.value:<16} {symbol.type!s:<20} {symbol.name}")

    def fact(self, key: str, text: str, value: Any) -> None:
        """One labelled line."""
        self._record[key] = value
        self._say(f"{key:<11}{text}")

    def note(self, text: str) -> None:
        """Something the user should know, on stderr."""
        self._record["notes"].append(text)
        if not self.as_json:
            click.echo(f"note: {text}", err=True)

    def host_time(self, seconds: float, count: int, unit: str) -> None:
        """How long the simulation took on this computer."""
        self._record |= {"host_seconds": seconds, unit: count}
        self._say(f"{'host time':<11}{seconds:.3f} s, {count / seconds:,.1f} {unit}/s (this computer, not the RDU)")

    def results(self, path: Path, outputs: Mapping[str, Array]) -> None:
        """Where the outputs are, and what they look like."""
        self._record["results"] = str(path)
        self._record["outputs"] = {
            name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in outputs.items()
        }
        self._say(f"{'results':<11}{path}")
        for name, array in outputs.items():
            self._say(f"  {name:<20} {array.dtype} {list(array.shape)}")

    def comparisons(self, path: Path, comparisons: Sequence[Comparison]) -> None:
        """Outputs against the reference."""
        passed = bool(comparisons) and all(comparison.passed for comparison in comparisons)
        listed = {
            c.name: {**asdict(c), "absolute": _finite(c.absolute), "relative": _finite(c.relative)} for c in comparisons
        }
        self._record["test"] = {"reference": str(path), "passed": passed, "outputs": listed}
        self._print(f"{'test':<11}{'passed' if passed else 'FAILED'} against {path}")
        for c in comparisons:
            verdict = "ok" if c.passed else "DIFFERS"
            detail = c.remark or f"max absolute error {c.absolute:.3g}, max relative error {c.relative:.3g}"
            self._print(f"  {c.name:<20} {verdict:<8} {detail}")

    def loss(self, step: int, loss: float) -> None:
        """The loss of a training step, counted from one."""
        self._record.setdefault("losses", []).append({"step": step, "loss": _finite(loss)})
        self._print(f"step {step:<7} loss {loss:.6g}")

    def timing(self, report: Report, full: bool, top: int) -> None:
        """The simulated time, with `top` rows to a table."""
        from runtime.profile import tables as profile

        if self.as_json:
            self._record["simulated"] = profile.as_dict(report)
        elif full:
            from rich.console import Console as RichConsole

            profile.render(report, RichConsole(), top)

    def finish(self) -> None:
        """Print the JSON object, if that is wanted."""
        if self.as_json:
            click.echo(json.dumps(self._record, indent=2))

    def _say(self, text: str) -> None:
        if not self.quiet:
            self._print(text)

    def _print(self, text: str) -> None:
        if not self.as_json:
            click.echo(text)


@contextmanager
def progress(console: Console, unit: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; yields what to call with the units done."""
    if not console.shows_progress or total < 2:
        yield lambda count: None
        return
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total)
        yield lambda count: bar.advance(task, count)


def _finite(number: float) -> float | str:
    """JSON has no inf and NaN."""
    return number if abs(number) < float("inf") else str(number)
