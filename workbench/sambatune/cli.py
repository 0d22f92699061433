"""`snc sambatune`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status


@click.command("sambatune", short_help="Write the report files of SambaTune.", context_settings=CONTEXT)
@click.argument("pef", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Default: sambatune/ beside it.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def sambatune(pef: Path, output: Path | None, verbose: bool) -> None:
    """Write the report files of SambaTune, with its columns, from one simulated run.

    section_report.csv, stage_report.csv, bandwidth_report.csv, paths_report.csv, pmu_stalls.csv, snprof/summary.csv and
    analysis/summary.json. All times are simulated. What the simulation does not model (bank conflicts, the vendor's
    host software) is an empty cell.
    """

    def run() -> bool:
        from pef.file import read
        from workbench.sambatune.files import write

        for path in write(read(pef), output or pef.parent / "sambatune"):
            click.echo(path)
        return True

    sys.exit(exit_status(run, verbose))
