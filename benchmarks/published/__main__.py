"""The time model beside published measurements, row by row, with its error.

    python -m benchmarks.published                       every row: tens of minutes
    python -m benchmarks.published unfused-1 fused-1     these rows
    python -m benchmarks.published unfused-1 --write     kept, too, and docs/published.md made from all that is kept
    python -m benchmarks.published --render              docs/published.md from what was kept

Simulated time only: no numbers are computed, nothing is placed or routed. No row ever chose a constant of a machine.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.published.page import lines, render
from benchmarks.published.results import Results, run
from benchmarks.published.rows import RATIOS, ROWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "published.md"


NAMES = [entry.name for entry in (*ROWS, *RATIOS)]


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--write", is_flag=True, help="Keep what is measured, and make the page.")
@click.option("--render", "rendered", is_flag=True, help="Make the page from what was kept; measure nothing.")
def main(names: tuple[str, ...], write: bool, rendered: bool) -> None:
    """Measure, print, keep, render."""
    results = Results.load()
    chosen = names or tuple(NAMES)
    if not rendered:
        kept = results if write else Results()
        for results in run(chosen, kept, lambda what: click.echo(what, err=True)):
            if write:
                results.save()
        for line in lines(results, chosen):
            click.echo(line)
    if write or rendered:
        PAGE.write_text(render(results))


if __name__ == "__main__":
    main()
