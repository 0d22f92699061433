"""How the tools print: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ir.errors import Problem, UsageError


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of columns as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for row in (columns, *rows):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as CSV, with a line of headings."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue().rstrip("\n")


def as_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as a JSON list of objects."""
    keys = [column.lower().replace(" ", "_") for column in columns]
    return json.dumps([dict(zip(keys, row)) for row in rows], indent=2)


def write_json(folder: Path, name: str, content: Any) -> Path:
    """Write an object into a folder. Raises UsageError where that cannot be done."""
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        problem = Problem(f"{path} cannot be written: {error.strerror}", hint="check the folder and its permissions")
        raise UsageError(problem) from error
    return path


def say(*lines: str) -> None:
    """Print lines, at once: `watch` and pipes see them as they come."""
    for line in lines:
        click.echo(line)
    sys.stdout.flush()
