"""What changed between two PEFs: planted changes are named, and so is what they do to time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from pef import pef_pb2 as pb
from pef.file import encoded
from runtime.timing import simulate
from tests.backends.test_mapping import residual
from tests.cli.conftest import assert_refused, run_snc
from workbench.diff.compare import compare

SN30 = load_machine("sn30")


@pytest.fixture(scope="module")
def before() -> pb.Pef:
    return compile_program(residual().program(), SN30)


def test_nothing_changed(before: pb.Pef) -> None:
    found = compare(before, before)
    assert found.is_same and not found.changes
    assert found.sentences() == [f"Both do the same in the same time: {found.before_us:,.1f} us (simulated)."]


def test_a_slower_memory(before: pb.Pef) -> None:
    tier = SN30.tiers[0]
    slow = replace(SN30, tiers=(replace(tier, bandwidth_bytes_per_s=tier.bandwidth_bytes_per_s / 50),))
    after = compile_program(residual().program(), slow)
    found = compare(before, after)
    report = simulate(after)
    assert found.after_us == pytest.approx(report.us(report.cycles))
    assert ("machine", "tiers") in {(change.of, change.what) for change in found.changes}
    assert "times as long" in found.sentences()[0] and "Section fwd_0" in found.sentences()[1]


def test_other_sections(before: pb.Pef) -> None:
    found = compare(before, compile_program(residual().program(), SN30, BackendOptions(fuse=False)))
    new = [change for change in found.changes if change.what == "is new" and change.of.startswith("sections")]
    assert len(new) == len(found.times) - 1
    assert re.match("It takes .* (as long|longer): ", found.sentences()[0]), "an operator for each section"


def test_another_placement_moves_units_and_nothing_else(before: pb.Pef) -> None:
    found = compare(before, compile_program(residual().program(), SN30, BackendOptions(seed=7)))
    assert found.changes and {change.what for change in found.changes} == {"sites"}
    assert {change.of.partition(" ")[0] for change in found.changes} == {"stages", "buffers"}


def test_the_command(before: pb.Pef, tmp_path: Path) -> None:
    one, other = tmp_path / "one.pef", tmp_path / "other.pef"
    one.write_bytes(encoded(before))
    other.write_bytes(encoded(compile_program(residual().program(), SN30, BackendOptions(fuse=False))))
    same = run_snc("diff", one, one)
    assert same.exit_code == 0 and "the same" in same.stdout
    changed = run_snc("diff", one, other, "--json")
    assert changed.exit_code == 1
    data = json.loads(changed.stdout)
    assert data["simulated_us"]["after"] > data["simulated_us"]["before"] and data["changes"]
    assert re.search("It takes .* (as long|longer): ", run_snc("diff", one, other, "--top", 3).stdout)
    assert_refused(run_snc("diff", one, tmp_path / "no.pef"), "PEF", "no.pef")
