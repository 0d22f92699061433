"""`sntilestat`: what the tiles of the node do, and for whom. Lines are the original's, byte for byte, from samples."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from ir.ending import exit_status
from runtime.node.activity import COLUMNS
from runtime.node.tools.output import as_csv, say

LAYOUT = "{:<20}{:>6}{:>6}{:>7}{:>7}{:>7}{:>9}"
HOLDER = " {:>6} {:>8} {}"
HEADINGS = ("TILE", *(f"%{column}" for column in COLUMNS))
HOLDER_HEADINGS = ("PID", "USER", "COMMAND")


@dataclass(frozen=True, slots=True)
class Row:
    """A tile: shares in percent in the order of COLUMNS, none out of service; pid of 0 where nobody holds it."""

    path: str
    percent: Sequence[float]
    pid: int = 0
    user: str = ""
    command: str = ""

    @property
    def is_idle(self) -> bool:
        """Whether nobody holds the tile."""
        return not self.pid


def header() -> str:
    """The line of headings."""
    return LAYOUT.format(*HEADINGS) + HOLDER.format(*HOLDER_HEADINGS)


def line(row: Row, width: int | None) -> str:
    """The line of a tile, cut at `width` characters where that is given."""
    shares = [f"{share:.1f}" for share in row.percent] or ["N/A"] * len(COLUMNS)
    text = LAYOUT.format(row.path, *shares)
    if not row.is_idle:
        text += HOLDER.format(row.pid, row.user, row.command)
    return text[:width]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-i", "interval", type=click.FloatRange(0.2, 600), default=5.0, show_default=True, metavar="SEC",
              help="Shares of the last so many seconds; also the pause between outputs.")  # fmt: skip
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Print so many times."
)
@click.option("--skip-idle", is_flag=True, help="Only RDUs that somebody uses.")
@click.option("-T", "timestamp", is_flag=True, help="The time before every output.")
@click.option("--csv", "as_csv_lines", is_flag=True, help="Comma-separated values.")
@click.option("--json", "as_json_object", is_flag=True, help="A JSON object per output.")
@click.option("--user", help="Only tiles of this user.")
@click.option("--pid", type=int, help="Only tiles of this process.")
def main(
    interval: float,
    count: int,
    skip_idle: bool,
    timestamp: bool,
    as_csv_lines: bool,
    as_json_object: bool,
    user: str | None,
    pid: int | None,
) -> None:
    """Show what the tiles do: shares of simulated time, and who holds them.

    \b
      exec     a section runs            pload  its program is loaded
      aload    its arguments are loaded  chkpt  memory is read for a checkpoint
      quiesce  a section drains          idle   none of these

    Idle with a PID is time on the host: a run that is mostly idle is bound by the host, not by the RDU. N/A stands for
    a tile out of service: snfadm -l fault. People type `watch sntilestat`.
    """

    def run() -> bool:
        from runtime.node.client import connect

        client = connect()
        for number in range(count):
            if number:
                time.sleep(interval)
            rows = [
                row
                for row in _skipped(_rows(client, interval), skip_idle)
                if user in (None, row.user) and pid in (None, row.pid)
            ]
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            if timestamp and not as_json_object:
                say(now)
            if as_json_object:
                say(_json(rows, now))
            elif as_csv_lines:
                say(as_csv((*HEADINGS, *HOLDER_HEADINGS), [_values(row) for row in rows]))
            else:
                say(header(), *(line(row, _width()) for row in rows))
        client.close()
        return True

    sys.exit(exit_status(run))


def _rows(client: object, interval: float) -> list[Row]:
    from runtime.node.protocol import snml_rpc_pb2 as pb

    response = client.ask("GetTileActivity", pb.TileActivityRequest(interval_seconds=interval))  # type: ignore[attr-defined]
    return [Row(t.path, tuple(t.percent), t.pid, t.user, t.command) for t in response.tiles]


def _skipped(rows: Sequence[Row], skip_idle: bool) -> Iterator[Row]:
    """The rows, or with `skip_idle` those of RDUs of which somebody holds a tile."""
    for _, group in itertools.groupby(rows, key=lambda row: row.path.rpartition("/")[0]):
        tiles = list(group)
        if not skip_idle or not all(row.is_idle for row in tiles):
            yield from tiles


def _width() -> int | None:
    """The width of the terminal; what is piped is not cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _values(row: Row) -> list[object]:
    shares = [f"{share:.1f}" for share in row.percent] or ["N/A"] * len(COLUMNS)
    return [row.path, *shares, *(["", "", ""] if row.is_idle else [row.pid, row.user, row.command])]


def _json(rows: Sequence[Row], now: str) -> str:
    tiles = [
        {
            "tile": row.path,
            "percent": dict(zip(COLUMNS, row.percent)) or None,
            "pid": row.pid or None,
            "user": row.user or None,
            "command": row.command or None,
        }
        for row in rows
    ]
    return json.dumps({"time": now, "tiles": tiles})


if __name__ == "__main__":
    main()
