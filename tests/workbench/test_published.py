"""The page of published measurements says what was kept, and the short rows still come out as kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.published.measure import measure
from benchmarks.published.page import render
from benchmarks.published.results import Results
from benchmarks.published.rows import ROWS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "published.md"


def test_the_page_is_made_from_what_was_kept() -> None:
    assert PAGE.read_text() == render(Results.load()), "python -m benchmarks.published --render"


def test_every_row_was_kept_at_every_level() -> None:
    kept = {(found.row, found.level) for found in Results.load().measured}
    assert kept == {(row.name, level) for row in ROWS for level in row.levels}


@pytest.mark.full
@pytest.mark.parametrize("row", [row for row in ROWS if row.layers == 1], ids=lambda row: row.name)
def test_rows_come_out_as_kept(row: Row) -> None:
    kept = {(found.row, found.level): found.seconds for found in Results.load().measured}
    for level in row.levels:
        found, _ = measure(row, level)
        assert found.seconds == pytest.approx(kept[row.name, level], rel=0.005), (
            "python -m benchmarks.published --write"
        )
