"""`snc diff`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status

if TYPE_CHECKING:
    from workbench.diff.compare import Change, Comparison

LONGEST = 60
"""Characters shown of a value."""


@click.command("diff", short_help="Compare two PEFs, and what they take.", context_settings=CONTEXT)
@click.argument("before", type=click.Path(path_type=Path), metavar="A.PEF")
@click.argument("after", type=click.Path(path_type=Path), metavar="B.PEF")
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Rows; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def diff(before: Path, after: Path, top: int, as_json: bool, verbose: bool) -> None:
    """Say what changed from one PEF to another, and what it did to the simulated time.

    Exit status 0 where both do the same in the same time, 1 where anything is different.
    """

    def run() -> bool:
        from pef.file import read
        from workbench.diff.compare import compare

        found = compare(read(before), read(after))
        if as_json:
            click.echo(json.dumps(found.as_dict(), indent=1))
        else:
            _render(found, top)
        return found.is_same

    sys.exit(exit_status(run, verbose))


def _render(found: Comparison, top: int) -> None:
    from rich.console import Console

    from pef.tables import Column, largest, number, print_table, shown_of, text
    from workbench.diff.compare import SectionTime

    console = Console()
    for sentence in found.sentences():
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    if found.is_same:
        return

    def moved(time: SectionTime) -> float:
        return abs((time.after_us or 0.0) - (time.before_us or 0.0))

    times: list[Column[SectionTime]] = [
        text("section", lambda time: time.name),
        number("before us", lambda time: "" if time.before_us is None else f"{time.before_us:,.1f}"),
        number("after us", lambda time: "" if time.after_us is None else f"{time.after_us:,.1f}"),
    ]
    shown = largest(found.times, moved, top)
    print_table(console, f"sections{shown_of(shown, found.times, 'most changed')}", times, shown)
    changes: list[Column[Change]] = [
        text("of", lambda change: change.of),
        text("what", lambda change: change.what),
        text("before", lambda change: _short(change.before)),
        text("after", lambda change: _short(change.after)),
    ]
    listed = found.changes[:top] if top else found.changes
    print_table(console, f"changes{shown_of(listed, found.changes)}", changes, listed)


def _short(value: object) -> str:
    shown = "" if value is None else str(value)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
