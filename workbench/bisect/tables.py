"""A bisection for people."""

from __future__ import annotations

from collections import Counter

from pef.tables import Column, number, print_table, text
from workbench.bisect.findings import Bisection, Finding

COLUMNS: list[Column[Finding]] = [
    text("what", lambda finding: f"{finding.level} {finding.name}"),
    number("isolated", lambda finding: _error(finding.isolated)),
    number("accumulated", lambda finding: _error(finding.accumulated)),
    text("", lambda finding: "wrong" if finding.is_wrong else "off" if finding.is_off else ""),
    text("where", lambda finding: finding.where),
]


def render(found: Bisection, everything: bool) -> None:
    """Print what was compared, what is off (or all of it), and the result in a sentence."""
    from rich.console import Console

    console = Console()
    for level, count in Counter(finding.level for finding in found.findings).items():
        own = [finding for finding in found.findings if finding.level == level]
        worst = max((finding.isolated or 0.0 for finding in own), default=0.0)
        console.print(f"{level}: {count} compared, largest isolated error {worst:.1e}", highlight=False)
    shown = [finding for finding in found.findings if everything or finding.is_off]
    if shown:
        print_table(console, "everything compared" if everything else "what is off", COLUMNS, shown)
    for remark in found.remarks:
        console.print(remark, style="dim", soft_wrap=True)
    console.print(found.sentence(), highlight=False, soft_wrap=True, markup=False)


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
