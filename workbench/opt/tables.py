"""What a pipeline did, as a table beside the program."""

from __future__ import annotations

from collections.abc import Sequence

from pef.tables import Column, number, print_table, text
from workbench.opt.pipeline import Step


def render_steps(steps: Sequence[Step]) -> None:
    """Print the steps to standard error: standard output is the program's."""
    from rich.console import Console

    columns: list[Column[Step]] = [
        text("pass", lambda step: step.name),
        number("nodes", lambda step: str(step.nodes)),
        number("ms", lambda step: f"{step.seconds * 1e3:.1f}"),
    ]
    if any(step.isolated is not None for step in steps):
        columns += [
            number("isolated", lambda step: f"{step.isolated or 0:.1e}"),
            number("accumulated", lambda step: f"{step.accumulated or 0:.1e}"),
            text("numbers", lambda step: "right" if step.is_right else f"wrong: {step.worst}"),
        ]
    print_table(Console(stderr=True), "passes", columns, steps)
