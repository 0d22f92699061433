"""`snc reduce`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli import CONTEXT
from ir.ending import exit_status
from workbench.options import compiling

if TYPE_CHECKING:
    from compiler.driver import Target
    from workbench.numbers.subject import Subject
    from workbench.reduce.reduce import Test


@click.command("reduce", short_help="Find the smallest program that shows a fault.", context_settings=CONTEXT)
@click.argument("model", metavar="MODEL.PY[:NAME]|PROGRAM.IR")
@click.option("--error", metavar="CODE", help="Look for a compile that ends in this error, such as INFEASIBLE.")
@click.option(
    "--command", metavar="COMMAND", help="Look for a program for which this ends with status 0; {} is its file."
)
@compiling
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file; default: standard output.")
@click.option("-v", "--verbose", is_flag=True, help="Say what was left after every step.")
def reduce(
    model: str,
    error: str | None,
    command: str | None,
    output: Path | None,
    verbose: bool,
    **how: Any,
) -> None:
    """Find the smallest program that still shows a fault, and print it.

    The fault is what snc bisect finds: a pass or a section that changes numbers. Or an error with which compiling ends
    (--error), or whatever a command of yours tells (--command).

    \b
      snc reduce model.py -o small.ir && snc bisect small.ir
      snc reduce model.py --error INFEASIBLE --arch small.toml
      snc reduce program.ir --command 'snc opt {} -p mine | grep -q gather'
    """

    def run() -> bool:
        from compiler.driver import CompileRequest
        from ir.text import print_program
        from pef.files import write_bytes
        from pef.wording import counted
        from workbench.numbers.subject import read_subject
        from workbench.reduce.reduce import reduce_program, size_in_words

        request = CompileRequest(model, **how)
        subject = read_subject(model, inference=request.inference, batch_size=request.batch_size, seed=request.seed)
        shows = _test(subject, request.target(), error, command)
        note = (lambda line: click.echo(line, err=True)) if verbose else (lambda line: None)
        found = reduce_program(subject.program, shows, note)
        text = print_program(found.program)
        if output is not None:
            write_bytes(output, text.encode())
        else:
            click.echo(text, nl=False)
        was, left = size_in_words(subject.program), size_in_words(found.program)
        click.echo(f"{was}; left: {left}; {counted(found.tried, 'program')} tried", err=True)
        return True

    sys.exit(exit_status(run, verbose))


def _test(subject: Subject, target: Target, error: str | None, command: str | None) -> Test:
    """What to look for. Raises UsageError where the whole program does not show it."""
    from ir.errors import Problem, SncError, UsageError
    from workbench.bisect.bisect import bisect_program
    from workbench.reduce.reduce import command_succeeds, fails_with, numbers_differ

    if error is not None and command is not None:
        raise UsageError(Problem("--error and --command are two faults to look for", hint="give one of them"))
    if error is not None and error not in (codes := sorted({kind.code for kind in SncError.__subclasses__()})):
        raise UsageError(Problem(f"there is no error {error!r}", hint=f"give one of {', '.join(codes)}"))
    if command is not None:
        shows, what = command_succeeds(command), f"the command does not succeed: {command}"
    elif error is not None:
        shows, what = fails_with(error, target), f"compiling does not end in error[{error}]"
    else:
        wrong = [finding for finding in bisect_program(subject, target) if finding.is_wrong]
        if not wrong:
            hint = "snc bisect also compares operators with PyTorch's"
            raise UsageError(
                Problem("no pass and no section changes the numbers: there is nothing to reduce", hint=hint)
            )
        return numbers_differ(subject, target, wrong[0].level)
    if not shows(subject.program):
        raise UsageError(Problem(f"the whole program does not show it: {what}", hint="check what to look for"))
    return shows
