"""Small machines for tests of the mapper."""

from __future__ import annotations

from dataclasses import replace

from backends.rdu.machine import load_machine
from pef.machine import Machine


def small_machine(side: int, pmu_bytes: int = 1 << 16) -> Machine:
    """An SN10 of one RDU tile of `side` x `side` sites with an AGCU in every corner and small PMUs."""
    corners = (0, side - 1, side * (side - 1), side * side - 1)
    return replace(
        load_machine("sn10"),
        name=f"small{side}",
        rows=side,
        columns=side,
        rdu_tile_rows=side,
        rdu_tile_columns=side,
        agcu_sites=corners,
        pmu_bytes=pmu_bytes,
    )
