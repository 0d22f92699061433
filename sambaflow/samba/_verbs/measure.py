"""Measuring how long runs take, on the host and in simulated time."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pef.facts import as_dict
from sambaflow.samba._program.ending import progress
from sambaflow.samba._program.processes import get_world_size, is_main_process
from sambaflow.samba.session import current_session
from sambaflow.samba.utils.read_perf_counters import counters_of

NOTE = "NOTE: These are times of this computer, which simulates the RDU. An RDU would take the simulated times."


def measure_performance(
    model: nn.Module,
    inputs: Any,
    batch_size: int = 1,
    n_chips: int = 1,
    inference: bool = False,
    run_graph_only: bool = False,
    n_iterations: int = 100,
    json: str | None = None,
    compiled_stats_json: str | None = None,
    data_parallel: bool = False,
    reduce_on_rdu: bool = False,
    min_duration: float = 0.0,
    json_counters: str | None = None,
    **options: Any,
) -> tuple[float, float]:
    """Run the loaded PEF again and again; returns (throughput in samples/s, latency in seconds) on this host.

    The time the RDU would take is printed, and written to `json`, beside it. `run_graph_only` leaves out copying
    inputs and outputs. `compiled_stats_json` and `json_counters` are files to write: what every section takes of the
    machine, and its simulated cycles.
    """
    progress.measured.add("measure-performance")
    world = get_world_size()
    sections = ["fwd"] if inference else None
    session = current_session()
    loaded = session.loaded

    def step() -> None:
        session.run(inputs, section_types=sections, data_parallel=data_parallel, reduce_on_rdu=reduce_on_rdu)

    def graph() -> None:
        loaded.prepared(sections).run(loaded.collective)

    say = print if is_main_process() else _silent
    say(f"Measuring peformance with world size: {world}")
    say("initial run starts.")
    step()
    say("initial run completes.")
    action: Callable[[], None] = graph if run_graph_only else step
    iterations, duration = _repeat(action, n_iterations, min_duration)
    latency = duration / iterations
    throughput = batch_size * world / latency
    simulated = loaded.device.simulated_seconds(loaded.prepared(sections).sections, loaded.replicas)
    say(f"e2e_latency: {latency} seconds, throughput: {throughput} samples/s, measured over {iterations} iterations.")
    if world > 1:
        say(f"NOTE: This is the combined throughput for {world} workers")
    say(NOTE)
    say(f"simulated RDU latency: {simulated} seconds, throughput: {batch_size * world / simulated} samples/s")
    say(f"total duration: {duration} s")
    if is_main_process():
        _write(json_counters, lambda: counters_of(loaded.device.pef))
        _write(compiled_stats_json, lambda: as_dict(loaded.device.pef)["sections"])
    if json and is_main_process():
        report = {
            "e2e_latency": latency,
            "throughput": throughput,
            "iterations": iterations,
            "simulated_latency": simulated,
            "simulated_throughput": batch_size * world / simulated,
            "batch_size": batch_size,
            "world_size": world,
        }
        Path(json).write_text(json_format.dumps(report, indent=2) + "\n")
    return throughput, latency


def measure_sections(
    model: nn.Module,
    inputs: Any,
    num_sections: int = 0,
    n_iterations: int = 100,
    batch_size: int = 1,
    json: str | None = None,
    min_duration: float = 0.0,
    **options: Any,
) -> dict[str, float]:
    """Seconds per run of each section (the first `num_sections`, 0 for all) on this host, printed and returned."""
    progress.measured.add("measure-sections")
    session = current_session()
    session.run(inputs)
    names = [section.name for section in session.device.pef.sections]
    seconds = {}
    for number, name in enumerate(names[: num_sections or None]):
        iterations, duration = _repeat(session.device.prepared(None, [number]).run, n_iterations, min_duration)
        seconds[name] = duration / iterations
        simulated = session.device.simulated_seconds([number])
        print(f"section {number} {name}: {seconds[name]} seconds, simulated RDU {simulated} seconds")
    print(NOTE)
    if json:
        Path(json).write_text(json_format.dumps(seconds, indent=2) + "\n")
    return seconds


def _write(path: str | None, content: Callable[[], Any]) -> None:
    """Write a file that was asked for."""
    if path:
        Path(path).write_text(json_format.dumps(content(), indent=2) + "\n")


def _silent(line: str) -> None:
    """What replicas other than the first have to say: they measure the same."""


def _repeat(action: Callable[[], None], iterations: int, min_duration: float) -> tuple[int, float]:
    """How often the action ran, and the seconds in all."""
    done = 0
    began = time.perf_counter()
    while True:
        for _ in range(max(1, iterations)):
            action()
        done += max(1, iterations)
        duration = time.perf_counter() - began
        if duration >= min_duration:
            return done, duration
