"""The report for people and for programs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from pef.machine import Tier
from runtime.profile.advice import advice
from runtime.profile.tables import as_dict, render, source_lines
from runtime.timing import Bound, simulate
from tests.pef.samples import SAMPLES
from tests.timing.build import FREE_MEMORY, chain, gemm, pef_of

SECTION_KEYS = {
    "index", "kind", "name", "configuration", "start_us", "sections", "latency_us", "share", "exec_us", "launch_us",
    "pload_us", "aload_us", "dram_read_bytes", "dram_write_bytes", "flops", "tflops", "bound", "path_us", "pcu", "pmu",
    "dram", "phases",
}  # fmt: skip
STAGE_KEYS = {
    "name", "operators", "sources", "parallelism", "pcus", "pmus", "level", "loops", "tiles", "cycles_per_tile",
    "compute_cycles", "port_cycles", "network_cycles", "exchange_cycles", "slowdown_factor", "latency_us", "busy",
    "share", "stalls", "flops",
}  # fmt: skip


@pytest.fixture
def data() -> dict[str, Any]:
    """The sample step as a dictionary."""
    return as_dict(simulate(SAMPLES["step"]()))


def test_keys(data: dict[str, Any]) -> None:
    assert set(data) == {"name", "simulated", "machine", "replicas", "total", "kinds", "sections", "advice"}
    assert data["simulated"] is True
    for section in data["sections"]:
        assert set(section) == SECTION_KEYS
        for phase in section["phases"]:
            assert all(set(stage) == STAGE_KEYS for stage in phase["stages"])
    assert json.loads(json.dumps(data)) == data


def test_totals_add_up(data: dict[str, Any]) -> None:
    assert list(data["kinds"]) == ["FWD", "BCKWD"]
    for key in ("sections", "latency_us", "exec_us", "pload_us", "flops", "share"):
        assert sum(kind[key] for kind in data["kinds"].values()) == pytest.approx(data["total"][key])
        assert sum(section[key] for section in data["sections"]) == pytest.approx(data["total"][key])
    assert data["total"]["share"] == 1
    parts = ("exec_us", "launch_us", "pload_us", "aload_us")
    assert sum(data["total"][part] for part in parts) == pytest.approx(data["total"]["latency_us"])


def test_stages_name_their_operators_and_source_lines(data: dict[str, Any]) -> None:
    first, second = data["sections"][0]["phases"][0]["stages"]
    assert (first["operators"], first["sources"]) == (["matmul", "tanh"], ["model.py:10", "model.py:11"])
    assert second["sources"] == ["model.py:12"]
    assert first["parallelism"] == {"batch": 1, "row": 2, "column": 2, "chain": 1}


def test_lines_are_listed_by_file() -> None:
    assert source_lines(["models/net.py:36", "models/net.py:37", "loss.py:4"]) == "net.py:36, 37\nloss.py:4"
    assert source_lines(["<adamw>", "net.py:36"]) == "<adamw>\nnet.py:36"


def test_streams_name_their_symbols(data: dict[str, Any]) -> None:
    streams = data["sections"][0]["phases"][0]["streams"]
    assert [(s["symbol"], s["direction"], s["bytes"]) for s in streams] == [
        ("x", "load", 256 * 32 * 4),
        ("a", "load", 32 * 48 * 4),
        ("b", "load", 48 * 16 * 4),
        ("h", "store", 256 * 16 * 4),
    ]


def test_tables_say_what_is_simulated() -> None:
    report = simulate(SAMPLES["step"]())
    console = Console(file=io.StringIO(), width=200)
    render(report, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "simulated time" in text
    for word in ("fwd_0", "bckwd_0", "pload", "matmul, tanh", "model.py:10, 11", "mul x 7", "1x2x2x1", "bound by"):
        assert word in text


def test_advice_names_the_bound_and_no_lever_that_was_not_tried() -> None:
    slow = replace(FREE_MEMORY, tiers=(Tier("ddr", 1 << 40, 1e9),), program_load_us=0.0, launch_us=0.0)
    report = simulate(pef_of(chain((4, 4), 64, rows=64, machine=slow).build(), slow))
    assert report.sections[0].bound is Bound.DRAM
    (sentence,) = advice(report)
    assert "section fwd_0: bound by DRAM" in sentence and sentence.endswith("of 1.0 GB/s")


def test_advice_speaks_of_the_memory_that_is_waited_for() -> None:
    tiers = (Tier("HBM", 1 << 30, 1e12), Tier("DDR", 1 << 40, 1e9))
    slow = replace(FREE_MEMORY, tiers=tiers, program_load_us=0.0, launch_us=0.0)
    pef = pef_of(chain((4, 4), 64, rows=64, machine=slow).build(), slow)
    pef.symbols[0].tier = 1
    report = simulate(pef)
    read, written = report.sections[0].execution.read_bytes, report.sections[0].execution.write_bytes
    assert read[1] and not written[1] and read[0] + written[0], "both memories are used"
    (sentence,) = advice(report)
    assert "and writes 0.00 MiB to DDR at" in sentence and sentence.endswith("of 1.0 GB/s")


def test_advice_on_launches() -> None:
    report = simulate(pef_of(gemm(32, 16, 6).build(), FREE_MEMORY, sections=2))
    assert report.sections[0].bound is Bound.LOAD
    assert any("program and argument load" in sentence for sentence in advice(report))


def test_advice_on_ports_and_full_buffers() -> None:
    idle = replace(FREE_MEMORY, program_load_us=0.0, launch_us=0.0, argument_load_us=0.0)
    ports = simulate(pef_of(gemm(256, 64, 600, rows=8, machine=idle).build(), idle))
    assert any("bound by PMU ports" in sentence for sentence in advice(ports))
    shallow = simulate(pef_of(chain((16, 1, 16), 16, rows=64, machine=idle).build(), idle))
    assert any("for space downstream" in sentence for sentence in advice(shallow))


def test_neither_rich_nor_torch_is_imported_to_simulate() -> None:
    program = "import sys, runtime.timing, runtime.profile.tables, runtime.profile.trace\n"
    program += "print({'rich', 'torch'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"
