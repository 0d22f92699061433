"""The trace: as the format asks, in order, nothing overlapping, and bounded in size."""

from __future__ import annotations

import copy
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runtime.profile.trace as trace
from ir.errors import UsageError
from runtime.timing import Report, simulate
from tests.pef.samples import SAMPLES
from tests.timing.build import FREE_MEMORY, chain, pef_of
from tests.timing.trace_format import faults

TOLERANCE_US = 1e-6


def tracks(data: dict[str, Any]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Slices by process and track."""
    found = defaultdict(list)
    for event in data["traceEvents"]:
        if event["ph"] == "X":
            found[event["pid"], event["tid"]].append(event)
    return found


def check(data: dict[str, Any], report: Report) -> None:
    """Slices of a track are in order and do not overlap; counters are in order; nothing is outside the step."""
    end = report.us(report.cycles)
    for slices in tracks(data).values():
        for event, following in itertools.pairwise(slices):
            assert event["ts"] + event["dur"] <= following["ts"] + TOLERANCE_US
        assert all(event["dur"] >= 0 and 0 <= event["ts"] <= end + TOLERANCE_US for event in slices)
    counters = defaultdict(list)
    for event in data["traceEvents"]:
        if event["ph"] == "C":
            counters[event["name"]].append(event["ts"])
            assert all(value >= 0 for value in event["args"].values())
    assert all(times == sorted(times) for times in counters.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str, tmp_path: Path) -> None:
    report = simulate(SAMPLES[name]())
    trace.write(report, tmp_path / "trace.json")
    data = json.loads((tmp_path / "trace.json").read_text(), parse_constant=pytest.fail)
    assert list(faults(data)) == []
    check(data, report)
    assert data["otherData"]["time"] == "simulated"
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    stages = sum(len(p.stages) + len(p.streams) for s in report.sections for p in s.execution.phases)
    assert len(tracks(data)) == stages + 1


def first(data: dict[str, Any], phase: str) -> dict[str, Any]:
    """The first event of a phase."""
    return next(event for event in data["traceEvents"] if event["ph"] == phase)


def longest(data: dict[str, Any]) -> dict[str, Any]:
    """A slice that is not the last of its track."""
    return max((event for slices in tracks(data).values() for event in slices[:-1]), key=lambda event: event["dur"])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data.update(traceEvents={}), "traceEvents are a list"),
        (lambda data: data.update(displayTimeUnit="us"), "displayTimeUnit"),
        (lambda data: first(data, "X").pop("dur"), "start and a duration"),
        (lambda data: first(data, "X").update(dur=-1.0), "start and a duration"),
        (lambda data: first(data, "X").update(ts="0"), "start and a duration"),
        (lambda data: first(data, "X").update(pid="fwd"), "number of a process"),
        (lambda data: first(data, "X").pop("tid"), "number of a thread"),
        (lambda data: first(data, "X").update(ph="B"), "phase 'B'"),
        (lambda data: first(data, "C").update(args={"read": "much"}), "series of numbers"),
        (lambda data: first(data, "C").update(args={}), "series of numbers"),
        (lambda data: first(data, "M").update(name="process"), "known kind"),
        (lambda data: first(data, "M").update(args={"name": 1}), "known kind"),
        (lambda data: data["traceEvents"].remove(first(data, "M")), "has no name"),
        (lambda data: longest(data).update(dur=longest(data)["dur"] + 1e-3), "ends after it"),
    ],
)
def test_the_check_of_the_format_finds_what_is_wrong(damage: Callable[[dict[str, Any]], object], words: str) -> None:
    data = copy.deepcopy(trace.as_trace(simulate(SAMPLES["step"]())))
    damage(data)
    assert any(words in fault for fault in faults(data))


def test_one_slice_per_firing_and_named_tracks() -> None:
    data = trace.as_trace(simulate(SAMPLES["two_products"]()))
    named = [event for event in data["traceEvents"] if event["name"] == "thread_name" and event["pid"] == 1]
    names = {event["args"]["name"]: event["tid"] for event in named}
    assert set(names) == {
        "phase 0 stage fc1",
        "phase 0 stage fc2",
        *(f"phase 0 load {s}" for s in "xab"),
        "phase 0 store y",
    }
    assert [event["name"] for event in tracks(data)[1, names["phase 0 stage fc1"]]] == [f"fc1 {t}" for t in range(4)]


def test_many_firings_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MOST_EVENTS", 100)
    report = simulate(pef_of(chain((4, 4, 4), 200).build(), FREE_MEMORY))
    data = trace.as_trace(report)
    check(data, report)
    assert list(faults(data)) == []
    assert data["otherData"]["slices"] == "neighbouring firings are merged into one slice"
    assert len(data["traceEvents"]) < 200
    stage = next(slices for slices in tracks(data).values() if slices[0]["name"].startswith("s0"))
    assert sum(event["args"]["firings"] for event in stage) == 200


def test_merged_counters_keep_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MOST_EVENTS", 100)
    report = simulate(pef_of(chain((1, 1), 64).build(), FREE_MEMORY))
    execution = report.sections[0].execution
    samples = [e for e in trace.as_trace(report)["traceEvents"] if e["ph"] == "C"]
    moved = sum((b["ts"] - a["ts"]) * 1e3 * sum(a["args"].values()) for a, b in itertools.pairwise(samples))
    assert moved == pytest.approx(sum(execution.read_bytes + execution.write_bytes), rel=1e-4)


def test_a_file_for_a_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        trace.write(simulate(SAMPLES["residual"]()), tmp_path / "taken" / "trace.json")


def test_slices_say_what_they_are() -> None:
    report = simulate(SAMPLES["two_products"]())
    slices = [event for events in tracks(trace.as_trace(report)).values() for event in events]
    stages = [event["args"] for event in slices if "operators" in event["args"]]
    streams = [event["args"] for event in slices if "symbol" in event["args"]]
    assert any("matmul" in stage["operators"] and ".py:" in stage["source"] for stage in stages)
    phases = [phase for section in report.sections for phase in section.execution.phases]
    assert {tuple(stage["loop"]) for stage in stages} >= {(0,), (phases[0].loops[0] - 1,)}
    moved = sum(stream.total_bytes for phase in phases for stream in phase.streams)
    assert sum(stream["bytes"] for stream in streams) == moved > 0
