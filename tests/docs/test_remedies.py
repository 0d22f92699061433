"""The remedies of docs/guides/read-a-report.md: each is compiled and simulated, with and without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from compiler.cli import main
from pef import file
from runtime.timing import simulate
from runtime.timing.report import Report
from tests.docs.pages import DOCS, ROOT
from workbench.report.causes import spent_by_bound

GUIDE = DOCS / "guides" / "read-a-report.md"
ROW = re.compile(
    r"^\| (?P<bound>\w+) \|.*\| `(?P<model>\w+\.py) (?P<before>[^`]*)` → `(?P<change>[^`]*)` \|$", flags=re.M
)
REMEDIES = [match.groupdict() for match in ROW.finditer(GUIDE.read_text())]


def test_every_row_of_the_table_is_read() -> None:
    table = GUIDE.read_text().partition("| Tried on |\n")[2].partition("\n\n")[0]
    assert len(REMEDIES) == len(table.splitlines()) - 1 > 3


@pytest.mark.full
@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda each: f"{each['bound']}: {each['change']}")
def test_remedy_makes_a_sample_faster(remedy: dict[str, str], tmp_path: Path) -> None:
    before, batch = simulated(remedy["model"], remedy["before"], tmp_path / "before")
    spent = spent_by_bound(before)
    assert max(spent, key=lambda bound: spent[bound]).name.lower() == remedy["bound"]
    after, larger_batch = simulated(remedy["model"], f"{remedy['before']} {remedy['change']}", tmp_path / "after")
    assert after.us(after.cycles) / larger_batch < 0.95 * before.us(before.cycles) / batch


def simulated(model: str, options: str, folder: Path) -> tuple[Report, int]:
    """The step of an example, compiled with these options, the last of each kind; and its batch size."""
    words = options.split()
    words.remove("--train") if "--train" in words else words.append("--inference")
    if "--o3" in words and "--o0" in words:
        words.remove("--o0")
    arguments = ["compile", str(ROOT / "examples" / model), *words, "--pef-name", "x", "-o", str(folder)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    batch = int(words[len(words) - 1 - words[::-1].index("-b") + 1])
    return simulate(file.read(folder / "x" / "x.pef")), batch
