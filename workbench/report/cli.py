"""`snc report`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status, show_messages


@click.command("report", short_help="Show where the time goes, on one HTML page.", context_settings=CONTEXT)
@click.argument("pef", type=click.Path(path_type=Path), metavar="FILE.PEF")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page; default: FILE.html beside the PEF.")
@click.option("--against", type=click.Path(path_type=Path), metavar="OTHER.PEF", help="Compare with another PEF.")
@click.option("--model", metavar="MODEL.PY[:NAME]", help="The PEF's model: its levers are tried for the next action.")
@click.option("--profile", is_flag=True, help="Also run the numbers here: host time, and error against PyTorch.")
@click.option(
    "--source", type=click.Path(path_type=Path), help="Folder of the source files; default: the model's, or ."
)
@click.option("--json", "as_json", is_flag=True, help="The facts as JSON on stdout; no page unless -o is given.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def report(
    pef: Path,
    output: Path | None,
    against: Path | None,
    model: str | None,
    profile: bool,
    source: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Show where the time of a PEF goes, as one HTML page that works offline.

    A step is simulated and joined from source lines to operators, sections, stages, units and cycles: what limits it,
    and what the removal of each limit would be worth.

    \b
      snc report lenet.pef                       writes lenet.html
      snc report lenet.pef --model lenet.py      and the next action
      snc report new.pef --against old.pef       what a change brought
      snc report lenet.pef --json | jq .verdict  the facts behind it
    """
    show_messages()

    def report_it() -> bool:
        from compiler.cli import progress_display
        from pef.files import write_bytes
        from workbench.report.gather import Request, gather, next_action
        from workbench.report.render import render

        with progress_display(quiet=as_json) as progress:
            found = gather(Request(pef, against, model, profile, source), progress)
        page = output or (None if as_json else pef.with_suffix(".html"))
        if page is not None:
            write_bytes(page, render(found).encode())
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            click.echo("\n".join(filter(None, (found["verdict"]["sentence"], next_action(found), str(page)))))
        return True

    sys.exit(exit_status(report_it, verbose))
