"""`snc opt`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status


@click.command("opt", short_help="Run passes on a program and print the result.", context_settings=CONTEXT)
@click.argument("program", metavar="PROGRAM.IR|MODEL.PY[:NAME]")
@click.option(
    "-p", "--passes", metavar="PIPELINE", help="Such as 'canonicalize,precision{preset=mp4},dce'; default: all."
)
@click.option(
    "--verify", is_flag=True, help="Compare numbers before and after every pass; exit status 2 if they differ."
)
@click.option("--print-between", is_flag=True, help="Print the program after every pass, not only after the last.")
@click.option("--inference", is_flag=True, help="Of a model file: forward only.")
@click.option("-b", "--batch-size", type=click.IntRange(min=1), help="Of a model file: passed to inputs(batch_size).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the values to compare on.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A file for the program; default: standard output."
)
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def opt(
    program: str,
    passes: str | None,
    verify: bool,
    print_between: bool,
    inference: bool,
    batch_size: int | None,
    seed: int,
    output: Path | None,
    verbose: bool,
) -> None:
    """Run passes on a program and print what they make of it.

    The program is text, such as program.ir of a dump (snc compile --stop-after cut), or what is captured of a model.
    Rules of the language are checked after every pass. With --verify, the reference interpreter also runs the program
    before and after: on the values of the model or of the dump, and random ones for what has none.

    \b
      snc opt model.py -p 'canonicalize,precision{preset=mp4}' --verify
      snc opt out/m/m.cut/program.ir -p cse,dce --print-between
    """

    def run() -> bool:
        from compiler.pass_manager import parse_pipeline
        from compiler.passes import standard_pipeline
        from ir.text import print_program
        from pef.files import write_bytes
        from workbench.numbers.subject import read_subject
        from workbench.opt.pipeline import require_right, run_pipeline
        from workbench.opt.tables import render_steps

        pipeline = parse_pipeline(passes) if passes is not None else standard_pipeline("mp0")
        subject = read_subject(program, inference=inference, batch_size=batch_size, seed=seed)
        show = click.echo if print_between else None
        steps = list(run_pipeline(subject.program, pipeline, subject.values if verify else None, show))
        text = print_program(steps[-1].program if steps else subject.program)
        if output is not None:
            write_bytes(output, text.encode())
        elif not print_between:
            click.echo(text, nl=False)
        render_steps(steps)
        require_right(steps)
        return True

    sys.exit(exit_status(run, verbose))
