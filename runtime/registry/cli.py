"""`snc list`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ir.ending import exit_status

if TYPE_CHECKING:
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
        _render(found)
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


def _render(found: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "kind", "machine", "options", "size", "checkpoints", "last run", "path"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for entry in found:
        if entry.problem:
            written = (_size(entry), _checkpoints(entry), _moment(entry.last_run))
            table.add_row("?", "", "", entry.problem, *written, str(entry.path))
            continue
        options = " ".join(f"{name.removesuffix('_size')}={value}" for name, value in (entry.options or {}).items())
        around = f" without {','.join(entry.avoided)}" if entry.avoided else ""
        table.add_row(
            entry.name, entry.kind, entry.machine + around, options, _size(entry), _checkpoints(entry),
            _moment(entry.last_run) or "never", str(entry.path),
        )  # fmt: skip
    console = Console()
    (console if console.is_terminal else Console(width=UNFOLDED)).print(table, markup=False, highlight=False)


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
