"""Options that commands of the workbench share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_COMPILING = (
    click.option("--inference", is_flag=True, help="Forward only."),
    click.option("-b", "--batch-size", type=click.IntRange(min=1), help="Passed to the file's inputs(batch_size)."),
    click.option("--arch", default="sn30", show_default=True, help="Machine to map onto."),
    click.option(
        "--level",
        type=click.Choice(("o0", "o1", "o3")),
        default="o3",
        show_default=True,
        help="What becomes one section.",
    ),
    click.option(
        "--graphamp-preset", "preset", default="mp0", show_default=True, metavar="mp0|mp1|mp4", help="Precision."
    ),
    click.option("--passes", metavar="PIPELINE", help="Run these passes instead of the usual ones."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and values."),
)


def compiling(command: Command) -> Command:
    """Add the options that say how a model is compiled: the fields of `CompileRequest`, by name."""
    for option in reversed(_COMPILING):
        command = option(command)
    return command
