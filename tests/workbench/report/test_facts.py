"""What the facts say adds up, leads from end to end, and agrees with the simulator."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compiler.driver import CompileRequest, compile_model
from pef import pef_pb2 as pb
from runtime.timing import Bound, Report, simulate
from runtime.timing.report import PathStep
from tests.workbench.report.conftest import EXAMPLES
from workbench.report.against import against
from workbench.report.causes import without
from workbench.report.execution import MOST_RUNS, MOST_STEPS, merged_steps, runs
from workbench.report.facts import facts

Facts = dict[str, Any]


def test_every_cycle_of_the_step_has_a_cause_and_a_line_or_a_load(found: Facts, report: Report) -> None:
    total = found["verdict"]["cycles"]
    assert total == pytest.approx(report.cycles)
    assert sum(found["verdict"]["spent"].values()) == pytest.approx(total)
    loads = sum(s["launch"] + s["program_load"] + s["argument_load"] for s in found["sections"])
    between = sum(
        sum(step[5].values())
        for section in found["sections"]
        for step in found["executions"][section["execution"]]["steps"]
        if not step[3]
    )
    assert sum(line["cycles"] for line in found["lines"]) + loads + between == pytest.approx(total)


def test_the_critical_path_is_one_chain_from_start_to_end(found: Facts) -> None:
    for execution in found["executions"]:
        steps = execution["steps"]
        assert steps[0][0] == 0
        assert steps[-1][1] == pytest.approx(execution["cycles"])
        assert all(before[1] == after[0] for before, after in itertools.pairwise(steps))
        assert all(sum(step[5].values()) == pytest.approx(step[1] - step[0], abs=1e-3) for step in steps)
        assert sum(sum(step[5].values()) for step in steps) == pytest.approx(execution["cycles"])
        owned = sum(
            sum(a["path"].values()) for phase in execution["phases"] for a in phase["stages"] + phase["streams"]
        )
        assert owned <= execution["cycles"] * (1 + 1e-9)


def test_lines_lead_to_stages_and_these_to_units_and_back(found: Facts) -> None:
    for section in found["sections"]:
        execution = found["executions"][section["execution"]]
        sites = found["floorplans"][section["configuration"]]["sites"]
        operators = 0
        for phase in execution["phases"]:
            for stage in phase["stages"]:
                assert stage["first_operator"] == operators
                operators += len(stage["operators"])
                assert len({sites[unit] for unit in stage["units"]}) == len(stage["units"]) > 0
                assert all(0 <= buffer < len(execution["buffers"]) for buffer in stage["reads"] + stage["writes"])
                assert sum(firings for _, _, firings in stage["runs"]) == stage["firings"]
                assert sum(stage["time"].values()) == pytest.approx(phase["end"] - phase["start"])
        assert operators == len(section["places"])
    known = {(place[0], place[1]) for place in found["places"]}
    assert {(line["file"], line["line"]) for line in found["lines"]} == known


def test_convolutions_are_found_on_the_lines_that_write_them(found: Facts) -> None:
    lines = [line for line in found["lines"] if "conv2d" in line["operators"]]
    assert len(lines) == 2
    for line in lines:
        assert "self.conv" in found["sources"][line["file"]][line["line"] - 1]
        assert {"conv2d_weight_gradient", "max_pool2d"} <= line["operators"].keys()
    assert any(line["file"] == "<sgd>" for line in found["lines"])


def test_the_gain_of_a_cause_is_what_the_simulator_says(found: Facts, pef: pb.Pef, report: Report) -> None:
    by_bound = {cause["bound"]: cause for cause in found["causes"]}
    load = by_bound["load"]
    assert load["gain_cycles"] == pytest.approx(sum(section.load_cycles for section in report.sections))
    assert load["how"] == "simulated without it"
    free = without(pef, Bound.DRAM)
    assert free is not None
    assert sum(s.execution.path[Bound.DRAM] for s in simulate(free).sections) == pytest.approx(0, abs=1)
    assert pef.machine.tiers[0].bandwidth_bytes_per_s != free.machine.tiers[0].bandwidth_bytes_per_s
    assert found["causes"] == sorted(found["causes"], key=lambda cause: -cause["gain_cycles"])


def test_traffic_by_tensor_is_all_that_streams_move(found: Facts) -> None:
    executions = [found["executions"][section["execution"]] for section in found["sections"]]
    assert sum(row["read_bytes"] for row in found["traffic"]) == sum(sum(e["read_bytes"]) for e in executions)
    assert sum(row["write_bytes"] for row in found["traffic"]) == sum(sum(e["write_bytes"]) for e in executions)


def test_a_buffer_is_in_use_while_its_readers_run(found: Facts) -> None:
    for execution in found["executions"]:
        assert all(0 <= b["begin"] <= b["end"] <= execution["cycles"] for b in execution["buffers"])
        for phase in execution["phases"]:
            for stage in phase["stages"]:
                for buffer in stage["reads"]:
                    assert execution["buffers"][buffer]["end"] >= stage["runs"][-1][1] - 1e-6


def test_facts_are_plain_json(found: Facts) -> None:
    assert json.loads(json.dumps(found, allow_nan=False))["name"] == found["name"]


def test_equal_sections_are_told_once(tmp_path: Path) -> None:
    source = f"{EXAMPLES / 'transformer.py'}:tiny"
    pef = compile_model(CompileRequest(source, output_folder=tmp_path, inference=True, level="o0")).pef
    found = facts(pef, simulate(pef), EXAMPLES)
    uses = Counter(section["execution"] for section in found["sections"])
    assert len(found["executions"]) == len(uses) < len(found["sections"])
    assert len(found["floorplans"]) == len({section["configuration"] for section in found["sections"]})


def test_a_pef_against_itself_differs_in_nothing(found: Facts, pef: pb.Pef, report: Report) -> None:
    same = against(found, pef, report)
    assert same["options"] == []
    assert all(theirs == pytest.approx(mine) for _, theirs, mine in same["rows"])


def test_a_comparison_names_what_was_asked_for_differently(found: Facts, pef: pb.Pef) -> None:
    other = pb.Pef()
    other.CopyFrom(pef)
    options = json.loads(other.header.options_json)
    other.header.options_json = json.dumps({**options, "batch_size": 2 * options["batch_size"]})
    other.machine.program_load_us *= 2
    compared = against(found, other, simulate(other))
    assert compared["options"] == [("batch_size", options["batch_size"], 2 * options["batch_size"])]
    rows = {name: (theirs, mine) for name, theirs, mine in compared["rows"]}
    assert rows["a step"][0] > rows["a step"][1]
    assert rows["per sample"][0] == pytest.approx(rows["a step"][0] / options["batch_size"] / 2)


@given(st.integers(1, 300), st.integers(1, 4000), st.integers(0, 5000))
@example(274, 1, 0)
@example(300, 4000, 1)
def test_bars_cover_every_firing(count: int, apart: int, length: int) -> None:
    begins = sorted(float(apart * number + number % 7) for number in range(count))
    ends = [begin + length for begin in begins]
    found = runs(begins, ends, 1e6)
    assert len(found) <= MOST_RUNS
    assert sum(firings for _, _, firings in found) == count
    assert found[0][0] == begins[0] and found[-1][1] == ends[-1]
    for first, last, firings in found:
        assert sum(first <= begin and end <= last for begin, end in zip(begins, ends)) == firings


@given(st.integers(1, 3000))
def test_a_long_path_is_shortened_without_losing_cycles(count: int) -> None:
    steps = [PathStep(0, "stage", i % 3, i + 1.0, {Bound.COMPUTE: 1.0}) for i in range(count)]
    merged = merged_steps(steps)
    assert len(merged) <= MOST_STEPS
    assert math.isclose(sum(step.cycles for step, _ in merged), count)
    assert [begin for _, begin in merged] == [0.0, *(step.end for step, _ in merged[:-1])]


def test_routes_are_those_of_the_pef(found: Facts, pef: pb.Pef) -> None:
    columns = found["machine"]["columns"]
    steps = (1, -1, columns, -columns)
    for number, plan in found["floorplans"].items():
        for net, told in zip(pef.configurations[number].nets, plan["nets"], strict=True):
            ends = [(link // 4, link // 4 + steps[link % 4]) for link in told[8]]
            assert [site for pair in ends for site in pair] == list(net.route)
