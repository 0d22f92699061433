"""`snc bisect`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status
from workbench.options import compiling


@click.command("bisect", short_help="Find what first makes numbers differ.", context_settings=CONTEXT)
@click.argument("model", metavar="MODEL.PY[:NAME]|PROGRAM.IR")
@compiling
@click.option("--all", "everything", is_flag=True, help="List everything that was compared, not only what is off.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def bisect(
    model: str,
    everything: bool,
    as_json: bool,
    verbose: bool,
    **how: Any,
) -> None:
    """Find what first makes numbers differ from PyTorch; exit status 1 if anything does.

    Compares every operator with PyTorch's result for the same operands, the program before and after every pass, and
    every section with the reference interpreter; in a wrong section its loads, stages and tiles. An isolated error is
    what something adds by itself, an accumulated one what has added up by then.
    """

    def run() -> bool:
        from compiler.driver import CompileRequest
        from workbench.bisect.bisect import bisect as compare
        from workbench.bisect.tables import render

        request = CompileRequest(model, **how)
        found = compare(request)
        if as_json:
            facts = [finding.as_dict() for finding in found.findings]
            click.echo(json.dumps({"result": found.sentence(), "remarks": found.remarks, "findings": facts}, indent=1))
        else:
            render(found, everything)
        return not any(finding.is_off for finding in found.findings)

    sys.exit(exit_status(run, verbose))
