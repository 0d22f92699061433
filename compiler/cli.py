"""`snc`: compile models, describe and check PEFs."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler import convention
from compiler.sambaflow_program import is_sambaflow_program, run_compile_verb
from ir.collector import collector_paused
from ir.ending import exit_status, show_messages
from ir.version import VERSION

if TYPE_CHECKING:
    from rich.console import Console

TOP = click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Rows of a table; 0: all."
)
ABOVE = {
    "export": "workbench.export.cli:export",
    "report": "workbench.report.cli:report",
    "opt": "workbench.opt.cli:opt",
    "bisect": "workbench.bisect.cli:bisect",
    "reduce": "workbench.reduce.cli:reduce",
    "diff": "workbench.diff.cli:diff",
    "sambatune": "workbench.sambatune.cli:sambatune",
    "zoo": "modelzoo.cli:zoo",
    "box": "modelbox.cli:box",
    "list": "runtime.registry.cli:list_command",
}
"""The commands that live beside or above the compiler: their modules, and what they are called there."""

STEPS = click.Choice(["cut", "stream", "allocate", "place", "route"])
"""The steps of the mapping (backends/rdu/plan.py)."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _WithThoseAbove(click.Group):
    """The commands here, and those above, which are imported when somebody asks for them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ABOVE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ABOVE:
            return super().get_command(ctx, cmd_name)
        module, _, name = ABOVE[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_WithThoseAbove, context_settings=CONTEXT)
@click.version_option(VERSION, prog_name="snc")
def main() -> None:
    """Compile PyTorch models for the RDU, and look into what came out.

    \b
      snc check model.py                  does it compile? in seconds
      snc compile model.py -b 64          a training PEF in out/<name>/<name>.pef
      snc compile model.py --inference    forward only
      snc describe out/<name>/<name>.pef
      snrun out/<name>/<name>.pef         run it on the simulated RDU
      snc list                            the PEFs in out/, when last run
    """


@main.command(
    "compile",
    context_settings={"ignore_unknown_options": True},
    epilog=f"\b\nA model file defines:\n{convention.table()}",
)
@click.argument("model", metavar="MODEL.PY[:NAME]", required=False)
@click.argument("program_options", nargs=-1, type=click.UNPROCESSED, metavar="[PROGRAM OPTIONS]")
@click.option("--inference", is_flag=True, help="Forward sections only: no gradients, no optimizer, a smaller PEF.")
@click.option("-b", "--batch-size", type=click.IntRange(min=1), help="Passed to the file's inputs(batch_size).")
@click.option("-mb", "--microbatch-size", type=click.IntRange(min=1), help="Samples that stream as one tile.")
@click.option("-o", "--output-folder", type=click.Path(path_type=Path), default=Path("out"), show_default=True)
@click.option("--pef-name", help="Name of the PEF and of its folder; default: the file's, or NAME.")
@click.option("--arch", default="sn30", show_default=True, metavar="sn10|sn30|sn40l|FILE", help="Machine to map onto.")
@click.option(
    "--avoid", multiple=True, metavar="WHAT", help="Map around hardware: tile:3, unit:130, agcu:5; repeatable."
)
@click.option("--o0", "level", flag_value="o0", help="One operator per section: slow on the RDU, simple to follow.")
@click.option("--o1", "level", flag_value="o1", help="Sections fused by rules; everything else as at --o0.")
@click.option("--o3", "level", flag_value="o3", default="o3", help="Sections chosen by modelled time (default).")
@click.option(
    "--separate-optimizer", is_flag=True, help="Keep BCKWD and OPT apart at --o3, for hosts that read gradients."
)
@click.option("--optimization-rules", type=click.Path(path_type=Path), help="YAML file with fusion rules for --o1.")
@click.option(
    "--graphamp-preset",
    "preset",
    default="mp0",
    show_default=True,
    metavar="mp0|mp1|mp4",
    help="mp0: precision as written; mp1: matrix products read bf16; mp4: everything bf16.",
)
@click.option("--compare-presets", is_flag=True, help="Say what the other precisions would gain: plans each as well.")
@click.option("--data-parallel", is_flag=True, help="Average gradients over replicas, each with a batch of its own.")
@click.option("-ws", "--world-size", type=click.IntRange(min=1), help="Fewest replicas of --data-parallel; default: 2.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of initial weights, recorded inputs and placement.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
@TOP
@click.option("-v", "--verbose", is_flag=True, help="Say what is being done.")
@click.option("--time-passes", is_flag=True, help="Time and size of the graph after each pass.")
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph after this pass; repeatable.")
@click.option("--passes", metavar="PIPELINE", help="Run these passes: 'canonicalize,precision{preset=mp4},dce'.")
@click.option("--stop-after", type=STEPS, help="Map up to this step, write that as text, and make no PEF.")
@click.option("--dump-after", type=STEPS, multiple=True, help="Write what is decided after this step; repeatable.")
@click.option("--start-from", type=click.Path(path_type=Path), metavar="FOLDER", help="Go on from such a dump.")
def compile_command(
    model: str | None,
    program_options: tuple[str, ...],
    inference: bool,
    batch_size: int | None,
    microbatch_size: int | None,
    output_folder: Path,
    pef_name: str | None,
    arch: str,
    avoid: tuple[str, ...],
    level: str,
    separate_optimizer: bool,
    optimization_rules: Path | None,
    preset: str,
    compare_presets: bool,
    data_parallel: bool,
    world_size: int | None,
    seed: int,
    as_json: bool,
    top: int,
    verbose: bool,
    time_passes: bool,
    print_after: tuple[str, ...],
    passes: str | None,
    stop_after: str | None,
    dump_after: tuple[str, ...],
    start_from: Path | None,
) -> None:
    """Compile a PyTorch model to a PEF.

    MODEL.PY defines `model` and `inputs`, and for training what is listed below. MODEL.PY:NAME takes them from NAME
    instead: an object or class that has them, or a function that returns one.

    A SambaFlow program (one that imports sambaflow) is compiled by its own `compile` verb, and may have options of its
    own.

    Writes into OUTPUT_FOLDER/NAME: NAME.pef, the initial weights and recorded inputs NAME.safetensors, PyTorch's
    outputs for them NAME.reference.npz, and NAME.log. --stop-after and --dump-after write NAME.STEP, a folder whose
    plan.yaml says what is decided; change it, and go on with --start-from.
    """
    if (model is None) is (start_from is None):
        raise click.UsageError("give a model, or a dump to --start-from" + (", not both" if model else ""))
    model = model or str(start_from)
    show_messages(verbose)
    if is_sambaflow_program(model):
        given = {"--output-folder": output_folder, "--pef-name": pef_name, "-b": batch_size, "--arch": arch}
        given |= {"--graphamp-preset": preset, "--inference": inference, f"--{level}": True, "-v": verbose}
        given |= {"--data-parallel": data_parallel, "-ws": world_size, "-mb": microbatch_size}
        given |= {"--optimization-rules": optimization_rules, "--avoid": ",".join(avoid)}
        sys.exit(
            exit_status(lambda: run_compile_verb(model, [*_spelled(given), *program_options], output_folder), verbose)
        )
    unknown = [word for word in (model, *program_options) if word.startswith("-")]
    if unknown:
        raise click.NoSuchOption(unknown[0])
    if world_size and not data_parallel:
        raise click.UsageError("-ws/--world-size counts replicas: give --data-parallel too, or leave it out")
    if program_options:
        raise click.UsageError(f"Got unexpected extra argument ({program_options[0]})")

    def compile_it() -> bool:
        with collector_paused():
            from backends.rdu.plan import Step
            from compiler import driver, report

        request = driver.CompileRequest(
            model,
            inference,
            batch_size,
            output_folder,
            pef_name,
            arch,
            level,
            preset,
            seed,
            print_after,
            compare_presets=compare_presets,
            replicas=(world_size or 2) if data_parallel else None,
            microbatch_size=microbatch_size,
            optimization_rules=optimization_rules,
            avoid=avoid,
            separate_optimizer=separate_optimizer,
            passes=passes,
            dump_after=tuple(map(Step, dump_after)),
            start_from=start_from,
        )
        with progress_display(quiet=as_json) as progress:
            if stop_after is not None:
                folders = driver.dump_model(request, Step(stop_after), progress)
            else:
                result = driver.compile_model(request, progress)
        if stop_after is not None:
            shown = list(map(str, folders))
            click.echo(json.dumps({"dumps": shown}) if as_json else f"go on with snc compile --start-from {shown[-1]}")
            return True
        if as_json:
            click.echo(json.dumps(report.as_dict(result), indent=2))
            return True
        console = _console()
        report.render(result, console, top)
        if time_passes:
            report.render_passes(result, console)
        return True

    sys.exit(exit_status(compile_it, verbose))


@main.command("describe", short_help="Show what is in a PEF.")
@click.argument("pef", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
@TOP
@click.option("--section", metavar="NAME", help="The inside of this section; wildcards as in 'fwd_*'.")
@click.option("--stage", metavar="NAME", help="Only these stages, their buffers, streams and nets; wildcards too.")
@click.option("--nets", is_flag=True, help="Show the nets between units too, and how much they carry.")
@click.option("--grid/--no-grid", default=True, help="With --section: show where stages and buffers sit on the chip.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def describe_command(
    pef: Path,
    as_json: bool,
    top: int,
    section: str | None,
    stage: str | None,
    nets: bool,
    grid: bool,
    verbose: bool,
) -> None:
    """Show what is in a PEF: symbols, sections, stages; with --section also phases, buffers, streams, and their place.

    Tables are as wide as the terminal (80 columns in pipes; set COLUMNS for more) and name the columns that they have
    no room for. --json has everything, whatever is selected.
    """

    def describe_it() -> bool:
        from pef import describe, file

        record = file.read(pef)
        if as_json:
            click.echo(json.dumps(describe.as_dict(record)))
        else:
            describe.render(record, _console(), describe.Selection(top, section, stage, nets, grid))
        return True

    sys.exit(exit_status(describe_it, verbose))


@main.command("check", short_help="Say whether a model compiles, or a PEF is legal.")
@click.argument("subject", metavar="MODEL.PY[:NAME]|FILE.PEF")
@click.option("--inference", is_flag=True, help="Of a model: forward only.")
@click.option("-b", "--batch-size", type=click.IntRange(min=1), help="Of a model: passed to inputs(batch_size).")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
@TOP
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def check_command(
    subject: str, inference: bool, batch_size: int | None, as_json: bool, top: int, verbose: bool
) -> None:
    """Say whether a model compiles, or whether a PEF is legal; exit status 0 for yes, 1 for no.

    Of a model, in seconds and without mapping it: every operator, and everything that is not supported, with its line
    and what to write instead. Models on PyTorch's meta device are checked without ever being materialised.

    Of a PEF: that it is intact, and legal on the machine it names; every violation if not.
    """

    def check_it() -> bool:
        if Path(subject.partition(":")[0]).suffix == ".py":
            return _check_model(subject, inference, batch_size, as_json, top)
        return _check_pef(Path(subject), as_json)

    sys.exit(exit_status(check_it, verbose))


def _check_pef(path: Path, as_json: bool) -> bool:
    from pef import check, file
    from pef.wording import counted

    record = file.read(path)
    check.check(record)
    counts = {"sections": len(record.sections), "configurations": len(record.configurations)}
    if as_json:
        click.echo(json.dumps({"pef": str(path), "legal": True, **counts}, indent=2))
        return True
    click.echo(f"{path}: legal; {', '.join(map(counted, counts.values(), ('section', 'configuration')))}")
    return True


def _check_model(model: str, inference: bool, batch_size: int | None, as_json: bool, top: int) -> bool:
    from compiler import support

    result = support.check_model(model, inference, batch_size)
    if as_json:
        click.echo(json.dumps(support.as_dict(result), indent=2))
    else:
        support.render(result, _console(), top)
    return result.supported


def _spelled(options: dict[str, Any]) -> Iterator[str]:
    """Options as words of a command line: flags that are set, and values that are given."""
    for name, value in options.items():
        if value is True:
            yield name
        elif value not in (None, False, ""):
            yield from (name, str(value))


def _console() -> Console:
    """Standard output, imported when something is printed: rich takes long."""
    from rich.console import Console

    return Console()


@contextmanager
def progress_display(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda what, done: None
        return
    columns: list[Any] = [TextColumn("{task.description:<40}"), BarColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=1.0)
        yield lambda what, done: display.update(task, description=what, completed=done)


if __name__ == "__main__":
    main()
