"""`snc list`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ir.ending import exit_status
from pef.tables import Column, number, print_table, text
from pef.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from runtime.registry.registry import Entry

UNFOLDED = 1000
"""Columns of a table that goes to a file or another program: no path is broken."""


@click.command("list", short_help="List PEFs and their checkpoints.")
@click.argument("where", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def list_command(where: tuple[Path, ...], as_json: bool) -> None:
    """List PEFs: name, use, machine, options, size, checkpoints, when last run.

    Looks below the folders that are named, else below those of $SNC_PEFS (with colons between them), else below `out`,
    where compiles write. Nothing is kept anywhere else: what is listed is what the files say. A run is known by what it
    wrote beside the PEF, in results/ and checkpoints/.
    """

    def list_them() -> bool:
        from runtime.registry.registry import entries, folders

        looked = folders(where)
        found = entries(looked)
        if as_json:
            click.echo(json.dumps({"folders": list(map(str, looked)), "pefs": [_facts(e) for e in found]}, indent=2))
            return True
        if not found:
            click.echo(f"no PEFs below {', '.join(map(str, looked))}")
            return True
        from rich.console import Console

        console = Console()
        render(found, console if console.is_terminal else Console(width=UNFOLDED))
        return True

    sys.exit(exit_status(list_them))


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "name": entry.name or None,
        "kind": entry.kind or None,
        "machine": entry.machine or None,
        "avoided": list(entry.avoided),
        "options": entry.options,
        "bytes": entry.size_bytes,
        "checkpoints": [str(path) for path in entry.checkpoints],
        "last_step": entry.last_step,
        "last_run": _moment(entry.last_run) or None,
        "problem": entry.problem or None,
    }


def render(found: Sequence[Entry], console: Console) -> None:
    """Print the PEFs as a table, and below it what is wrong with those that cannot be read."""
    readable = [entry for entry in found if not entry.problem]
    if readable:
        print_table(console, counted(len(readable), "PEF"), _COLUMNS, readable)
    broken = [entry for entry in found if entry.problem]
    if broken:
        console.print(f"\n[bold]{counted(len(broken), 'file')} that cannot be read[/]", highlight=False)
    for entry in broken:
        console.print(f"{entry.path}: {entry.problem}", soft_wrap=True, markup=False, highlight=False)


def _checkpoints(entry: Entry) -> str:
    if not entry.checkpoints:
        return ""
    last = f", step {entry.last_step}" if entry.last_step is not None else ""
    return f"{len(entry.checkpoints)}{last}"


def _size(entry: Entry) -> str:
    kibibytes = entry.size_bytes / 1024
    return f"{kibibytes:.1f} KiB" if kibibytes < 1024 else f"{kibibytes / 1024:.1f} MiB"


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _machine(entry: Entry) -> str:
    return entry.machine + (f" without {','.join(entry.avoided)}" if entry.avoided else "")


def _options(entry: Entry) -> str:
    return " ".join(f"{name.removesuffix('_size')}={value}" for name, value in (entry.options or {}).items())


_COLUMNS: list[Column[Entry]] = [
    text("name", lambda entry: entry.name),
    text("path", lambda entry: str(entry.path)),
    text("kind", lambda entry: entry.kind),
    text("last run", lambda entry: _moment(entry.last_run) or "never"),
    text("machine", _machine),
    text("options", _options),
    number("size", _size),
    text("checkpoints", _checkpoints),
]
