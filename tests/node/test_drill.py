"""The drill goes as the page says: training loses a tile, is mapped around it, and goes on with the same losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.drill import BEGIN, END, Drill, put_into, rehearse


@pytest.mark.full
def test_drill(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    assert rehearse(drill) < 1e-4
    log = "\n".join(drill.log)
    for said in (
        "(FTYPE_TILE_EXCLUDED, ",
        "/XRDU_0/RDU_0/TILE_2 : FTYPE_TILE_EXCLUDED",
        "/XRDU_0/RDU_0/TILE_2   N/A",
        "TYPE      : FTYPE_TILE_EXCLUDED",
        "map around it: snc compile --avoid tile:2",
        "mapped around 320 units (whole RDU tiles: 2)",
    ):
        assert said in log
    assert str(tmp_path) not in log


def test_the_log_goes_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, ["$ new", "line"])
    assert page.read_text() == f"before\n{BEGIN}\n```\n$ new\nline\n```\n{END}\nafter\n"
