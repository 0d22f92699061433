"""Causes: what gains most comes first, bounds hold phase by phase, and a cause that gains nothing says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pef import pef_pb2 as pb
from pef.machine import Tier
from runtime.timing import simulate
from tests.pef.samples import ConfigurationBuilder
from tests.timing.build import AMPLE, FREE_MEMORY, bf16, chain, gemm, matmul, pef_of
from workbench.report.causes import NOTHING, causes, spent_by_bound

SMALL = replace(
    FREE_MEMORY,
    rows=4,
    columns=4,
    agcu_sites=(0, 4, 8),
    tiers=(AMPLE, Tier("ddr", 1 << 40, 20e9)),
    program_load_us=0.0,
    argument_load_us=0.0,
    launch_us=0.0,
    pmu_port_bytes_per_cycle=1 << 20,
)
"""Eight PCUs, and a memory that is slow beside the other."""


def streamed(*tiers: int, tiles: int = 16) -> pb.Pef:
    """A section for each tier: rows stream from there through a product on half of the PCUs, and back."""
    b = ConfigurationBuilder(SMALL)
    slots = [b.slot(bf16(64 * tiles, 64)), b.slot(bf16(64, 24)), b.slot(bf16(64 * tiles, 24))]
    x, y = (b.buffer(name, bf16(64 * tiles, width), 0, tiles, 2) for name, width in (("x", 64), ("y", 24)))
    w = b.buffer("w", bf16(64, 24))
    b.phase(tiles)
    stage = b.stage("product")
    stage.write(stage.apply(matmul(), stage.read(x, 0), stage.read(w), axis=0), y)
    stage.place(2, 2)
    b.load(slots[0], x, 0, agcus=(0,))
    b.load(slots[1], w, -1, agcus=(1,))
    b.store(slots[2], y, 0, agcus=(2,))
    pef = pef_of(b.build(), SMALL, sections=len(tiers))
    own = list(pef.symbols)
    for section, tier in zip(pef.sections, tiers):
        del section.bindings[:]
        for symbol in own:
            section.bindings.append(len(pef.symbols))
            moved = pef.symbols.add()
            moved.CopyFrom(symbol)
            moved.name, moved.tier = f"{section.name}_{symbol.name}", tier
    return pef


def by_bound(pef: pb.Pef) -> dict[str, dict[str, Any]]:
    return {cause["bound"]: cause for cause in causes(pef, simulate(pef))}


def test_arithmetic_that_hides_behind_memory_excuses_no_other_section() -> None:
    fast, slow = (by_bound(streamed(tier))["compute"]["gain_cycles"] for tier in (0, 1))
    assert fast > slow > 0
    together = by_bound(streamed(*[0] * 3, *[1] * 20))["compute"]["gain_cycles"]
    assert together == pytest.approx(3 * fast + 20 * slow)


def test_what_most_time_goes_into_is_told_and_what_gains_nothing_else_is_not() -> None:
    pef = streamed(0, 1)
    report = simulate(pef)
    found, spent = causes(pef, report), spent_by_bound(report)
    largest = max(spent, key=lambda bound: spent[bound]).name.lower()
    assert largest in {cause["bound"] for cause in found}
    assert all(cause["gain_cycles"] > NOTHING * report.cycles for cause in found if cause["bound"] != largest)
    assert found == sorted(found, key=lambda cause: -cause["gain_cycles"])
    assert all(cause["gain_cycles"] <= cause["cycles"] * (1 + 1e-9) for cause in found)


def test_of_two_limits_in_a_row_the_first_gains_nothing_and_names_the_second() -> None:
    machine = replace(SMALL, agcu_bytes_per_cycle=4, tiers=(Tier("ddr", 1 << 40, 7.9999e9),))  # a trace below two AGCUs
    pef = pef_of(chain((2, 2), 64, machine=machine).build(), machine)
    memory = by_bound(pef)["dram"]
    assert memory["share"] > 0.9
    assert memory["gain_cycles"] == 0
    assert memory["how"] == "without it, as much time goes into waiting for AGCUs, the doors to memory"


@pytest.mark.parametrize(("columns", "how"), [(4, "it computes at the machine's peak"), (2, "at most")])
def test_at_the_peak_computing_gains_nothing(columns: int, how: str) -> None:
    machine = replace(SMALL, agcu_bytes_per_cycle=1 << 20)
    pef = pef_of(gemm(64, 4096, 24, rows=2, columns=columns, machine=machine).build(), machine)
    computing = by_bound(pef)["compute"]
    assert computing["how"] == how
    assert computing["gain_share"] == pytest.approx(0.5 if how == "at most" else 0, abs=0.02)
