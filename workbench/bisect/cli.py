"""`snc bisect`."""

from __future__ import annotations

import json
import sys

import click

from ir.ending import exit_status

LEVELS = ("o0", "o1", "o3")


@click.command("bisect", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model", metavar="MODEL.PY[:NAME]|PROGRAM.IR")
@click.option("--inference", is_flag=True, help="Forward only.")
@click.option("-b", "--batch-size", type=click.IntRange(min=1), help="Passed to the file's inputs(batch_size).")
@click.option("--arch", default="sn30", show_default=True, help="Machine to map onto.")
@click.option("--level", type=click.Choice(LEVELS), default="o3", show_default=True, help="What becomes one section.")
@click.option("--graphamp-preset", "preset", default="mp0", show_default=True, metavar="mp0|mp1|mp4", help="Precision.")
@click.option("--passes", metavar="PIPELINE", help="Run these passes instead of the usual ones.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and values.")
@click.option("--all", "everything", is_flag=True, help="List everything that was compared, not only what is off.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def bisect(
    model: str,
    inference: bool,
    batch_size: int | None,
    arch: str,
    level: str,
    preset: str,
    passes: str | None,
    seed: int,
    everything: bool,
    as_json: bool,
    verbose: bool,
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

        request = CompileRequest(
            model, inference, batch_size, arch=arch, level=level, preset=preset, seed=seed, passes=passes
        )
        found = compare(request)
        if as_json:
            facts = [finding.as_dict() for finding in found.findings]
            click.echo(json.dumps({"result": found.sentence(), "remarks": found.remarks, "findings": facts}, indent=1))
        else:
            render(found, everything)
        return not any(finding.is_off for finding in found.findings)

    sys.exit(exit_status(run, verbose))
