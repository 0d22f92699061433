"""`snfadm`: the daemon's inventory, error, fault and policy logs. The options are the original's; the layout, ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from ir.ending import exit_status
from runtime.node.tools.output import as_csv, as_json, say, table

BRIEF = {"fault": ("UUID", "TIME", "TYPE", "COMPONENT")}
"""What a log shows without -v, where that is not everything."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-l", "log", required=True, type=click.Choice(["inventory", "error", "fault", "policy"]), help="The log.")
@click.option("-a", "--all-faults", is_flag=True, help="Cleared faults too.")
@click.option("-v", "--verbose", is_flag=True, help="Everything about each entry, such as suspects and advice.")
@click.option("--csv", "as_csv_lines", is_flag=True, help="Comma-separated values.")
@click.option("--json", "as_json_list", is_flag=True, help="A JSON list.")
def main(log: str, all_faults: bool, verbose: bool, as_csv_lines: bool, as_json_list: bool) -> None:
    """List what the node's fault management knows.

    \b
      snfadm -l inventory  components and their states, before and after a job
      snfadm -l error      what was seen; a number above zero is normal
      snfadm -l fault      what was concluded and stands; -a: what was cleared
      snfadm -l fault -v   suspects, the most likely first, and advice
      snfadm -l policy     which error becomes which fault

    A fault takes a tile or an RDU out of service until an administrator clears it: repair the hardware first
    (`snfault repair` in a simulated node), then `snfault clear`.
    """

    def run() -> bool:
        from runtime.node.client import connect

        client = connect()
        columns, rows = client.log(log, all_faults)
        client.close()
        if as_json_list:
            say(as_json(columns, rows))
        elif as_csv_lines:
            say(as_csv(columns, rows))
        elif verbose:
            say(*_verbose(columns, rows))
        else:
            shown = [
                i
                for i, column in enumerate(columns)
                if column in (*BRIEF.get(log, columns), *(["CLEARED"] * all_faults))
            ]
            say(*table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows]))
        return True

    sys.exit(exit_status(run))


def _verbose(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A block of lines for each entry."""
    width = max(map(len, columns))
    for row in rows:
        yield from (f"{column:<{width}} : {text}" for column, text in zip(columns, row))
        yield ""


if __name__ == "__main__":
    main()
