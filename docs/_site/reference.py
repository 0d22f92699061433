"""The reference: a page for every operator, pass, error code, command and machine, from the code that declares them.

`make docs` writes it into the site. `python docs/_site/reference.py FOLDER` writes it alone.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "ir")]

import click  # noqa: E402
import history  # noqa: E402
from samples import SAMPLES  # noqa: E402
from samples_more import MORE_SAMPLES  # noqa: E402

from backends.rdu.machine import load_machine, machine_entries, machine_names  # noqa: E402
from compiler.passes import PASSES  # noqa: E402
from ir import errors  # noqa: E402
from ir.op import OPS, Op  # noqa: E402
from pef.machine import Machine, SiteKind  # noqa: E402

COMMANDS = {"snc": "compiler.cli", "snrun": "runtime.snrun.cli", "snd": "runtime.node.daemon"}
COMMANDS |= {name: f"runtime.node.tools.{name}" for name in ("snconfig", "sntilestat", "snfadm", "snfault")}
GOLDEN = ROOT / "tests" / "passes" / "golden"
Pages = dict[str, str]
"""Texts by path below the reference, without the suffix."""


def pages() -> Pages:
    """Every page of the reference."""
    made: Pages = {}
    parts = (_operators(), _passes(), _errors(), _commands(), _machines())
    for part in parts:
        made.update(part)
    lists = [
        f"- [{made[name].splitlines()[0].removeprefix('# ')}]({name}.md)" for part in parts for name in list(part)[:1]
    ]
    made["results"] = history.page()
    lists.append("- [Results by commit](results.md)")
    made["index"] = "\n".join(["# Reference", "", "Generated from the code when the site is built.", "", *lists, ""])
    return made


def write(folder: Path) -> None:
    """Write every page below `folder`."""
    for name, text in pages().items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _operators() -> Pages:
    families: dict[str, list[str]] = defaultdict(list)
    for name, declared in sorted(OPS.items()):
        families[_module(declared).stem].append(name)
    rows = [f"| {family} | {_links(names)} |" for family, names in sorted(families.items())]
    head = [
        "# Operators by family",
        "",
        "What the device computes. Each page has the type rule's limits, the iteration space for an example, the cost",
        "and the declaration itself. [Which PyTorch operator becomes which](../../operators.md) is a page of its own.",
        "",
        "| Family | Operators |",
        "|---|---|",
    ]
    made = {"operators/index": "\n".join([*head, *rows, ""])}
    made.update({f"operators/{name}": "\n".join(_operator(name, declared)) for name, declared in sorted(OPS.items())})
    return made


def _operator(name: str, declared: type[Op]) -> Iterator[str]:
    samples = [sample for sample in (*SAMPLES, *MORE_SAMPLES) if sample.op.name == name]
    cost = declared.cost
    yield from (f"# {name}", "", inspect.cleandoc(declared.__doc__ or ""), "", "| | |", "|---|---|")
    attributes = dataclasses.fields(declared)  # type: ignore[arg-type]
    yield f"| attributes | {', '.join(f'`{f.name}: {f.type}`' for f in attributes) or 'none'} |"
    yield f"| part of a PCU | {cost.kind.value}{', with the slow functions of the tail' if cost.tail else ''} |"
    yield f"| operations per element, passes | {cost.operations}, {cost.passes} |"
    for rule in declared.limits:
        yield f"| limit | {rule.__doc__} |"
    yield from ("", "## Iteration space", "", "For the operands of the operator's own tests:", "")
    yield from ("| Operands | Results | Space | FLOPs |", "|---|---|---|---|")
    for sample in samples:
        results = ", ".join(map(str, sample.op.results(*sample.operands)))
        space = str(sample.op.space(*sample.operands)).replace("|", "\\|")
        operands = ", ".join(map(str, sample.operands)) or "none"
        yield f"| {operands} | {results} | `{space}` | {sample.op.flops(*sample.operands):,} |"
    path = _module(declared).relative_to(ROOT).as_posix()
    source = _source(declared)
    place = "From" if source else "Declared by a table in"
    yield from ("", "## Declaration", "", f"{place} [`{path}`](../../../{path}){':' if source else '.'}", "")
    if source:
        yield from ("```python", source, "```", "")


def _passes() -> Pages:
    rows = [f"| [{name}]({name}.md) | {_first_line(kind)} |" for name, kind in PASSES.items()]
    head = [
        "# Passes",
        "",
        "Pure functions from program to program, in `compiler/passes`.",
        "",
        "| Pass | |",
        "|---|---|",
    ]
    made = {"passes/index": "\n".join([*head, *rows, ""])}
    made.update({f"passes/{name}": "\n".join(_pass(name, kind)) for name, kind in PASSES.items()})
    return made


def _pass(name: str, kind: Any) -> Iterator[str]:
    path = Path(inspect.getfile(kind)).relative_to(ROOT).as_posix()
    yield from (f"# {name}", "", inspect.cleandoc(kind.__doc__ or ""), "")
    yield inspect.cleandoc(inspect.getmodule(kind).__doc__ or "")  # type: ignore[union-attr]
    options = [f"`{field.name}` ({field.type})" for field in dataclasses.fields(kind)]
    yield from ("", f"Options: {', '.join(options) or 'none'}. Source: [`{path}`](../../../{path}).")
    for golden in sorted(GOLDEN.glob(f"{name}*.txt")):
        yield from ("", f"## Before and after: {golden.stem}", "", "```text", golden.read_text().rstrip(), "```")
    yield ""


def _errors() -> Pages:
    kinds = {kind.code: kind for kind in _subclasses(errors.SncError)}
    raised = _raised({kind.__name__ for kind in kinds.values()})
    rows = [f"| [{code}](error-{code.lower()}.md) | {_first_line(kind)} |" for code, kind in sorted(kinds.items())]
    head = ["# Error codes", "", "Every message a user can meet begins with `error[CODE]`; codes never change.", ""]
    made = {"errors/index": "\n".join([*head, "| Code | |", "|---|---|", *rows, ""])}
    for code, kind in sorted(kinds.items()):
        made[f"errors/error-{code.lower()}"] = "\n".join(_error(code, kind, raised[kind.__name__]))
    return made


def _error(code: str, kind: type[errors.SncError], places: Sequence[str]) -> Iterator[str]:
    cause, _, fix = inspect.cleandoc(kind.__doc__ or "").removeprefix("Cause: ").partition(" Fix: ")
    yield from (f"# error[{code}]", "", f"**Cause:** {cause}", "", f"**Fix:** {fix or 'as the message says.'}", "")
    yield f"In Python: `ir.errors.{kind.__name__}`; `error.problems` has one entry for everything that is wrong."
    if places:
        yield from ("", "## Where it is raised", "")
        yield from (f"- [`{place}`](../../../{place})" for place in places)
    yield ""


def _raised(names: set[str]) -> dict[str, list[str]]:
    """The files that name each error class, other than its own."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in ("ir", "pef", "backends", "compiler", "runtime", "sambaflow", "modelzoo", "modelbox"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text())
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            for name in used & names:
                found[name].append(path.relative_to(ROOT).as_posix())
    return found


def _commands() -> Pages:
    made: Pages = {"commands/index": ""}
    rows = []
    for program, module in COMMANDS.items():
        for words, command in _walk(program, import_module(module).main):
            page = f"commands/{words.replace(' ', '-')}"
            made[page] = "\n".join(_command(words, command))
            rows.append(f"| [`{words}`]({words.replace(' ', '-')}.md) | {command.get_short_help_str(100)} |")
    head = ["# Commands and their options", "", "As `--help` says it.", "", "| Command | |", "|---|---|"]
    made["commands/index"] = "\n".join([*head, *rows, ""])
    return made


def _walk(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _walk(f"{words} {name}", below)


def _command(words: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=words)
    formatter = context.make_formatter()
    command.format_usage(context, formatter)
    usage = formatter.getvalue().strip()
    help_text = inspect.cleandoc(command.help or "").replace("\b", "").strip()
    yield from (f"# {words}", "", "```text", usage, "", help_text, "```", "")
    options = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    for option in options:
        spelled, text = option.get_help_record(context) or (", ".join(option.opts), "")
        yield from (f"## {option.opts[-1]}", "", f"`{spelled}`", "", text.strip() or "No description.", "")


def _machines() -> Pages:
    rows = [f"| [{name}]({name}.md) | {_machine_line(load_machine(name))} |" for name in machine_names()]
    head = [
        "# Machines",
        "",
        "Data files in `backends/rdu/machines`; every number carries its source. [How to describe another"
        " one](../../guides/add-a-machine.md).",
        "",
        "| Machine | |",
        "|---|---|",
    ]
    made = {"machines/index": "\n".join([*head, *rows, ""])}
    made.update({f"machines/{name}": "\n".join(_machine(name)) for name in machine_names()})
    return made


def _machine(name: str) -> Iterator[str]:
    path = f"backends/rdu/machines/{name}.toml"
    yield from (f"# {load_machine(name).name}", "", f"{_machine_line(load_machine(name))}.", "")
    yield from (f"From [`{path}`](../../../{path}).", "", "| Key | Value | Where it comes from |", "|---|---|---|")
    for entry in machine_entries(name):
        yield f"| `{entry.key}` | {entry.value:,g} | {entry.source} |"
    yield ""


def _machine_line(machine: Machine) -> str:
    pcus = len(machine.working_sites(SiteKind.PCU))
    peak = pcus * machine.pcu_lanes * machine.pcu_stages * 2 * machine.clock_ghz / 1e3
    tiers = " and ".join(f"{t.name} at {t.bandwidth_bytes_per_s / 1e9:,.0f} GB/s" for t in machine.tiers)
    pmus = len(machine.working_sites(SiteKind.PMU))
    return f"{pcus:,} PCUs, {pmus:,} PMUs of {machine.pmu_bytes >> 10} KiB, {peak:,.0f} TFLOPS in bf16, {tiers}"


def _subclasses(kind: type[errors.SncError]) -> Iterator[type[errors.SncError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _subclasses(below)


def _source(declared: type) -> str:
    """The text of a class; empty where a table made it."""
    try:
        return inspect.getsource(declared).rstrip()
    except OSError:
        return ""


def _module(declared: type) -> Path:
    return Path(inspect.getfile(declared))


def _first_line(kind: Any) -> str:
    return inspect.cleandoc(kind.__doc__ or "").splitlines()[0]


def _links(names: Sequence[str]) -> str:
    return ", ".join(f"[`{name}`]({name}.md)" for name in names)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
