"""Advice is given only after it was tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.rdu.compile import estimate_cycles
from compiler.driver import CompileRequest
from ir.errors import UsageError
from pef import pef_pb2 as pb
from tests.workbench.report.conftest import EXAMPLES, LENET
from workbench.report import levers
from workbench.report.considered import considered
from workbench.report.gather import next_action
from workbench.report.levers import candidates, request_of


def options(request: CompileRequest) -> list[str]:
    return [lever.option for lever in candidates(request)]


def test_levers_change_one_option_each() -> None:
    request = CompileRequest("model.py", batch_size=8)
    for lever in candidates(request):
        changed = [
            name
            for name in ("batch_size", "microbatch_size", "arch", "level", "preset")
            if getattr(lever.request, name) != getattr(request, name)
        ]
        assert len(changed) == 1, lever.option
    assert "--o3" not in options(request)
    assert "--o3" in options(replace(request, level="o0"))
    assert not any("graphamp" in option for option in options(replace(request, preset="mp4")))
    assert not any(option.startswith("-b") for option in options(replace(request, batch_size=None)))


def test_the_request_is_the_one_that_made_the_pef(pef: pb.Pef) -> None:
    request = request_of(pef, LENET)
    assert (request.batch_size, request.preset, request.level, request.arch) == (4, "mp0", "o3", "sn30")


def test_the_action_is_the_best_of_those_tried(pef: pb.Pef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levers, "LARGER_BATCHES", (2,))
    monkeypatch.setattr(levers, "MACHINES", ("sn30",))
    found = levers.levers(pef, LENET)["levers"]
    assert {lever["option"] for lever in found["tried"]} >= {"-b 8", "--graphamp-preset mp4"}
    best = found["tried"][found["action"]]
    assert best["speedup"] == max(lever["speedup"] for lever in found["tried"] if lever["cycles"] is not None)
    assert best["speedup"] >= levers.WORTHWHILE
    twice = next(lever for lever in found["tried"] if lever["option"] == "-b 8")
    assert twice["cycles_per_sample"] == pytest.approx(twice["cycles"] / 8)
    assert twice["speedup"] == pytest.approx(found["cycles_per_sample"] / twice["cycles_per_sample"])


def test_without_a_lever_that_helps_there_is_no_advice(pef: pb.Pef, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(program: Any, machine: Any, options: Any) -> float:
        return 1e5 if estimate_cycles else 0.0

    monkeypatch.setattr(levers, "estimate_cycles", unchanged)
    monkeypatch.setattr(levers, "LARGER_BATCHES", ())
    found = levers.levers(pef, LENET)
    assert found["levers"]["action"] is None
    assert "none is worth taking" in next_action(found)
    assert next_action({}) == ""


def test_another_model_is_refused(pef: pb.Pef) -> None:
    with pytest.raises(UsageError, match="is not the model of this PEF"):
        levers.levers(pef, str(EXAMPLES / "res_ffn.py"))


def test_a_lever_that_does_not_compile_says_so(pef: pb.Pef, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(levers, "LARGER_BATCHES", ())
    monkeypatch.setattr(levers, "estimate_cycles", lambda program, machine, options: 1e5)
    broken = tmp_path / "broken.toml"
    broken.write_text("name = 1")
    monkeypatch.setattr(levers, "MACHINES", (str(broken),))
    found = levers.levers(pef, LENET)["levers"]
    last = found["tried"][-1]
    assert last["cycles"] is None and last["note"].startswith("does not compile")


def test_rivals_are_slower_and_longer_sections_do_not_fit(pef: pb.Pef) -> None:
    request = replace(request_of(pef, LENET), inference=True)
    small = replace(request.machine(), rows=4, columns=4, agcu_sites=(0,), faulty_sites=())
    program = levers.Trial().improved(request)
    found = considered(program, small, request.backend_options())
    assert len(found) > 1
    assert sum(section["stages"] for section in found) > 5
    reasons = [other["why"] for section in found for other in section["alternatives"]]
    slower = [float(reason.split()[4]) for reason in reasons if "longer" in reason]
    assert slower and min(slower) >= 0
    assert any("no way was found that fits" in reason for reason in reasons)
    assert considered(program, small, replace(request, level="o0").backend_options()) == []
