"""SambaTune's files: their public columns, and numbers that agree with the simulation they come from."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from pef import pef_pb2 as pb
from runtime.timing import Report, simulate
from tests.cli.conftest import assert_refused, run_snc
from tests.pef.samples import SAMPLES
from workbench.sambatune.files import contents

COLUMNS = {
    "section_report.csv": ["section_id", "chip_id", "partition_id", "section type", "measured throughput (samples/s)"],
    "bandwidth_report.csv": [
        "source_unit_name",
        "event_name",
        "required_avg_bandwidth",
        "bandwidth_vec/cycles",
        "slowdown_factor",
        "manhattan_distance",
        "number_iterations",
        "number_iterations_global",
        "bank_conflict_count",
    ],
    "stage_report.csv": ["section id", "stage depth", "stage id", "related stage ids", "non-buffer template names"],
    "paths_report.csv": ["section id", "buffer chain", "latency", "nodes (kNames)", "nodes (NodeName)"],
}


def rows(files: dict[str, str], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name])))


@pytest.fixture
def files(training: pb.Pef) -> dict[str, str]:
    return contents(training)


@pytest.fixture
def report(training: pb.Pef) -> Report:
    return simulate(training)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_public_columns_come_first(files: dict[str, str], name: str) -> None:
    heading = files[name].splitlines()[0].split(",")
    assert heading[: len(COLUMNS[name])] == COLUMNS[name]


def test_sections_are_those_of_the_simulation(files: dict[str, str], report: Report) -> None:
    found = rows(files, "section_report.csv")
    assert [row["section type"] for row in found] == [section.kind for section in report.sections]
    for row, section in zip(found, report.sections):
        seconds = report.us(section.cycles) * 1e-6
        assert float(row["latency (sec)"]) == pytest.approx(seconds, abs=1e-9)
        assert float(row["measured throughput (samples/s)"]) == pytest.approx(16 / seconds, rel=1e-4)
        total = float(row["DDR read GB/s"]) + float(row["DDR write GB/s"])
        assert float(row["DDR total GB/s"]) == pytest.approx(total, abs=2e-4)


def test_stages_and_the_buffers_between_them(files: dict[str, str], report: Report) -> None:
    found = rows(files, "stage_report.csv")
    stages = [row for row in found if row["stage id"] != "-1"]
    expected = sum(len(phase.stages) for section in report.sections for phase in section.execution.phases)
    assert len(stages) == expected and len(found) > expected
    first = [row for row in stages if row["section id"] == "0"]
    assert [int(row["stage id"]) for row in first] == list(range(len(first)))
    by_id = {row["stage id"]: row for row in first}
    for row in first:
        for other in row["related stage ids"].split():
            assert row["stage id"] in by_id[other]["related stage ids"].split(), "neighbours know one another"


def test_the_parts_of_the_run_add_up(files: dict[str, str], report: Report) -> None:
    [row] = rows(files, "snprof/summary.csv")
    parts = [float(row[f"{name} (percent)"]) for name in ("RUN SETUP", "RUN HW", "XFER", "ARGINS")]
    assert sum(parts) == pytest.approx(100, abs=0.05) and row["TOTAL (percent)"] == "100.00"
    executing = sum(section.execution.cycles for section in report.sections)
    assert float(row["RUN HW (nsec)"]) == pytest.approx(report.ns(executing), abs=1)
    assert row["SAMBA (nsec)"] == row["CONV FUNC (sec)"] == "", "what is not simulated is not zero"


def test_nets(files: dict[str, str], training: pb.Pef) -> None:
    found = rows(files, "bandwidth_report.csv")
    assert len(found) == sum(len(configuration.nets) for configuration in training.configurations)
    assert all(row["source_unit_name"].startswith(("pcu_", "pmu_", "agcu_")) for row in found)
    assert all(float(row["slowdown_factor"]) >= 1 and int(row["manhattan_distance"]) >= 0 for row in found)


def test_the_summary_says_what_users_know(files: dict[str, str]) -> None:
    summary = json.loads(files["analysis/summary.json"])
    assert list(summary) == ["Overview", "Host", "RDU"]
    assert summary["Overview"][0].startswith("Host takes ") and "simulated" in summary["Overview"][-1]
    [sentence] = summary["RDU"][0]
    assert sentence.startswith("chip 0, section ") and "The total DDR bandwidth is" in sentence
    assert all({"template", "nodes"} == set(stage) for stage in summary["RDU"][0][sentence])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample(name: str) -> None:
    found = contents(SAMPLES[name]())
    stalls = rows(found, "pmu_stalls.csv")
    assert stalls and all(0 <= float(row[port]) <= 1 for row in stalls for port in ("STALL_RD0", "STALL_RD1"))
    assert rows(found, "paths_report.csv")


def test_the_command(training_path: Path, tmp_path: Path) -> None:
    result = run_snc("sambatune", training_path, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(map(str, (tmp_path / "out").rglob("*.*"))) == sorted(result.stdout.split())
    assert_refused(run_snc("sambatune", tmp_path / "no.pef"), "PEF", "no.pef")
