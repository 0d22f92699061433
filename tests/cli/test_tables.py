"""Every table at 80, 100 and 160 columns, as golden files: SNC_UPDATE=1 writes them anew."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from compiler import report, support
from compiler.cli import main
from compiler.driver import CompileResult
from compiler.pass_manager import PassTiming
from compiler.support import SupportReport
from ir.errors import Problem, UsageError
from ir.graph import Program
from ir.location import Location
from modelzoo.catalogue import find
from modelzoo.cli import print_models
from pef import describe, file
from pef.codec import decode_machine
from pef.decoded_pef import DecodedPef
from pef.tables import largest, mib, number, print_table, text
from runtime.profile import tables as profile
from runtime.registry import cli as registry
from runtime.registry.registry import Entry
from runtime.snrun.cli import main as snrun
from runtime.timing import simulate
from tests.pef.samples import step

GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (80, 100, 160)
ENTRIES = [
    Entry(Path("out/lenet/lenet.pef"), 88_000, "lenet", "training", "SN30", ("tile:3",), {"level": "o3", "batch": 64}),
    Entry(Path("out/lenet/old.pef"), 12, problem="this is not a PEF: it ends after 12 bytes"),
]


def printed(show: Callable[[Console], None], width: int) -> str:
    """What `show` prints on a terminal of so many columns, without colours."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    show(console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def described(**selected: object) -> Callable[[Console], None]:
    """`snc describe` of the sample step."""
    return lambda console: describe.render(step(), console, describe.Selection(**selected))  # type: ignore[arg-type]


def compiled(folder: Path) -> CompileResult:
    """The sample step as a compile's result."""
    pef = step()
    pef.header.options_json, pef.header.metadata_json = '{"preset": "mp0", "avoid": []}', '{"losses": []}'
    path = folder / "sample.pef"
    path.write_bytes(bytes(34567))
    timings = (PassTiming("canonicalize", 0.0123, 40), PassTiming("dce", 0.001, 31))
    gains = {"mp0": 2000.0, "mp4": 1000.0}
    machine = decode_machine(pef.machine)
    return CompileResult(path, path, path, path, DecodedPef(pef), machine, Program("sample", (), ()), timings, gains)


def checked() -> SupportReport:
    """A model with twelve operators, one of them refused."""
    operators = {f"aten.operator_with_a_long_name_{number}": 3 + number % 4 for number in range(12)}
    problem = Problem("operator aten.fold is not supported", Location("model.py", 7, "net"), "pad and reshape")
    return SupportReport(
        "model.py", False, {"x": "f32[2, 3]"}, 9, 36, operators, {next(iter(operators)): 2}, {}, (problem,)
    )


def tables(folder: Path) -> dict[str, Callable[[Console], None]]:
    """Every table of both commands, by what shows it."""
    result = compiled(folder)
    return {
        "snc describe": described(),
        "snc describe --top 1": described(top=1),
        "snc describe --section 'fwd_*' --nets": described(section="fwd_*", nets=True, top=4),
        "snc describe --section bckwd_0": described(section="bckwd_0", top=0),
        "snc describe --stage fc2": described(stage="fc2"),
        "snc compile": lambda console: report.render(result, console),
        "snc compile --top 1 --time-passes": lambda console: (
            report.render(result, console, top=1),
            report.render_passes(result, console),
        )[0],
        "snc check": lambda console: support.render(checked(), console),
        "snrun --profile": lambda console: profile.render(simulate(step()), console),
        "snrun --profile --top 1": lambda console: profile.render(simulate(step()), console, top=1),
        "snc list": lambda console: registry.render(ENTRIES, console),
        "snc zoo list": lambda console: print_models([find(name) for name in ("gpt", "braggnn")], console),
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_golden(width: int, tmp_path: Path) -> None:
    parts = []
    for command, show in tables(tmp_path).items():
        parts.append(f"$ {command}\n{printed(show, width)}\n".replace(str(tmp_path), "out"))
    path = GOLDEN / f"tables-{width}.txt"
    if os.environ.get("SNC_UPDATE"):
        path.write_text("\n".join(parts))
    assert "\n".join(parts) == path.read_text()


@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_tables_fit_and_cut_no_name(width: int) -> None:
    names = ["a", "fwd_12", "resnet.encoder.stages.1.layers.0.layer.1.convolution", "语言模型" * 12]
    columns = [text("name", lambda row: row), *(number(f"n{i}", lambda row: "1,234.5") for i in range(30))]
    output = printed(lambda console: print_table(console, "title", columns, names), width)
    body, _, left_out = output.partition("no room for: ")
    _, _, headings, _, *rows = body.splitlines()
    assert max(map(cell_len, output.splitlines())) <= width
    first_column = "".join(row.split("  ")[0].strip() for row in rows)
    assert all(name in first_column for name in names)
    assert [*headings.split()[1:], *left_out.replace("\n", " ").split(", ")] == [f"n{i}" for i in range(30)]


def test_largest_are_shown_in_their_order() -> None:
    assert largest([3, 9, 1, 7], float, 2) == [9, 7]
    assert largest([3, 9, 1, 7], float, 0) == [3, 9, 1, 7]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0.000"), (1 << 10, "0.001"), (3 << 19, "1.500"), (12345678, "11.77"), (1 << 40, "1,048,576")],
)
def test_bytes_in_mib(count: int, shown: str) -> None:
    assert mib(count) == shown


def test_wrong_names_are_told_and_the_right_ones_offered() -> None:
    with pytest.raises(UsageError, match=r"no section is named 'fwd_3'(.|\n)*did you mean 'fwd_[01]'"):
        printed(described(section="fwd_3"), 80)
    with pytest.raises(UsageError, match=r"no stage is named 'xyz'(.|\n)*use one of fc1, fc2"):
        printed(described(section="fwd_0", stage="xyz"), 80)


def test_only_what_a_stage_touches_is_shown() -> None:
    shown = printed(described(stage="fc2", nets=True), 160)
    assert "fc2" in shown and "hidden" in shown and "fc1" not in shown.replace("fc1 ", "") and "scaled" not in shown


def test_commands_pass_the_options_on(tmp_path: Path) -> None:
    path = tmp_path / "step.pef"
    file.write(step(), path)
    arguments = ["describe", str(path), "--section", "bckwd_0", "--top", "1", "--no-grid", "--nets"]
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "90"})
    assert result.exit_code == 0 and "nets: the 1 that carry most of" in result.output
    assert "upper case" not in result.output and max(map(len, result.output.splitlines())) <= 90
    timed = CliRunner().invoke(snrun, [str(path), "--timing-only", "--top", "1"], env={"COLUMNS": "80"})
    assert timed.exit_code == 0 and "the 1 slowest of 3" in timed.output


def test_a_training_pef_is_timed_as_a_whole_step(tmp_path: Path) -> None:
    path = tmp_path / "step.pef"
    file.write(step(), path)
    output = CliRunner().invoke(snrun, [str(path), "--timing-only"], env={"COLUMNS": "80"}).output
    assert "bckwd_0" in output and "simulated time in 3 sections" in output


def commands(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The command and those below it, each with its help on 80 columns."""
    context = click.Context(command, parent=above, info_name=name, terminal_width=80, max_content_width=80)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from commands(below, each, context)


def test_every_help_fits_a_terminal() -> None:
    setup = ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    assert len(scripts) >= 7
    for name, target in (script.split(" = ") for script in scripts):
        module, attribute = target.split(":")
        for path, shown in commands(getattr(import_module(module), attribute), name):
            assert [line for line in shown.splitlines() if len(line) > 80] == [], path
