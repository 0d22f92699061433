"""What happens in one run of a section's configuration, as plain data. Times are cycles from the start of execution."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pef.decoded import Configuration, Stage
from runtime.timing.report import Execution, PathStep, StageReport, StreamReport

MOST_RUNS = 40
"""Bars that one stage or stream is drawn with; closer firings are joined."""
MOST_STEPS = 400
"""Stretches of the critical path that are kept apart."""
MOST_SAMPLES = 160
"""Points of a curve over time."""

Facts = dict[str, Any]
Run = tuple[float, float, int]
"""From when to when, and how many firings."""


def execution_facts(configuration: Configuration, execution: Execution) -> Facts:
    """Phases with their stages and streams, buffers, the critical path and memory traffic."""
    on_path = path_by_actor(execution)
    return {
        "cycles": execution.cycles,
        "flops": execution.flops,
        "read_bytes": list(execution.read_bytes),
        "write_bytes": list(execution.write_bytes),
        "path": {bound.name.lower(): cycles for bound, cycles in execution.path.items() if cycles},
        "pcus": [execution.pcu.allocated, execution.pcu.busy_cycles],
        "pmus": [execution.pmu.allocated, execution.pmu.busy_cycles],
        "phases": [
            {
                "loops": list(phase.loops),
                "start": phase.start,
                "end": phase.end,
                "stages": [
                    _stage(decoded, stage, on_path.get((number, "stage", index), {}))
                    for index, (decoded, stage) in enumerate(zip(configuration.phases[number].stages, phase.stages))
                ],
                "streams": [
                    _stream(configuration, number, index, stream, on_path.get((number, "stream", index), {}))
                    for index, stream in enumerate(phase.streams)
                ],
            }
            for number, phase in enumerate(execution.phases)
        ],
        "buffers": list(_buffers(configuration, execution)),
        "steps": [_step(step, begin) for step, begin in merged_steps(execution.steps)],
        "traffic": list(_traffic(execution)),
    }


def path_by_actor(execution: Execution) -> dict[tuple[int, str, int], dict[str, float]]:
    """Cycles of the critical path by phase and stage or stream, and by what they were spent on."""
    found: dict[tuple[int, str, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for step in execution.steps:
        for bound, cycles in step.spent.items():
            found[step.phase, step.kind, step.index][bound.name.lower()] += cycles
    return {actor: dict(spent) for actor, spent in found.items()}


def merged_steps(steps: Sequence[PathStep]) -> list[tuple[PathStep, float]]:
    """The stretches of a path with their beginnings; of too many, neighbours are joined under the longest's name."""
    total = steps[-1].end if steps else 0
    groups: dict[int, list[PathStep]] = defaultdict(list)
    if len(steps) <= MOST_STEPS:
        groups = defaultdict(list, {number: [step] for number, step in enumerate(steps)})
    else:
        for step in steps:
            groups[int(step.end / total * (MOST_STEPS - 1))].append(step)
    found, begin = [], 0.0
    for group in groups.values():
        longest = max(group, key=lambda step: step.cycles)
        spent: dict[Any, float] = defaultdict(float)
        for bound, cycles in itertools.chain.from_iterable(step.spent.items() for step in group):
            spent[bound] += cycles
        step = PathStep(longest.phase, longest.kind, longest.index, group[-1].end, dict(spent))
        found.append((step, begin))
        begin = step.end
    return found


def runs(begins: Sequence[float], ends: Sequence[float], total: float) -> list[Run]:
    """Firings as bars: those less than a share of `total` apart are one bar, and of too many, neighbours are joined."""
    joined: list[list[float]] = []
    for begin, end in zip(begins, ends):
        if joined and begin - joined[-1][1] <= total / 500:
            joined[-1][1] = max(end, joined[-1][1])
            joined[-1][2] += 1
        else:
            joined.append([begin, end, 1])
    stride = -(-len(joined) // MOST_RUNS) or 1
    groups = [joined[first : first + stride] for first in range(0, len(joined), stride)]
    return [(group[0][0], group[-1][1], int(sum(run[2] for run in group))) for group in groups]


def _stage(decoded: Stage, stage: StageReport, on_path: Mapping[str, float]) -> Facts:
    parallel = stage.parallelism
    return {
        "name": stage.name,
        "operators": list(stage.operators),
        "first_operator": stage.operations.start,
        "parallel": [parallel.batch, parallel.row, parallel.column, parallel.chain],
        "units": list(decoded.record.units),
        "reads": [port.buffer for port in decoded.inputs],
        "writes": [port.buffer for port in decoded.outputs],
        "combine": [port.combine for port in decoded.outputs if port.combine],
        "loops": list(stage.loops),
        "firings": stage.events,
        "interval": stage.interval_cycles,
        "needs": {
            "compute": stage.compute_cycles,
            "port": stage.port_cycles,
            "network": stage.network_cycles,
            "exchange": stage.exchange_cycles,
        },
        "latency": stage.latency_cycles,
        "time": {name: value for name in STAGE_TIMES if (value := getattr(stage.time, name))},
        "flops": stage.flops,
        "path": dict(on_path),
        "runs": runs(stage.starts, [start + stage.interval_cycles for start in stage.starts], stage.time.total),
    }


STAGE_TIMES = ("compute", "port", "network", "exchange", "input", "output", "dram", "fill", "drain")
"""Where the time of a stage goes, as `StageTime` names it."""


def _stream(
    configuration: Configuration, phase: int, index: int, stream: StreamReport, on_path: Mapping[str, float]
) -> Facts:
    total = stream.ends[-1] if len(stream.ends) else 0.0
    return {
        "store": stream.store,
        "slot": stream.slot,
        "buffer": configuration.phases[phase].streams[index].buffer,
        "whole": stream.whole,
        "tier": stream.tier,
        "agcus": list(stream.agcus),
        "bytes": stream.total_bytes,
        "transfers": len(stream.ends),
        "limits": {limit.value: cycles for limit, cycles in stream.limits.items()},
        "path": dict(on_path),
        "runs": runs(stream.begins, stream.ends, total),
    }


def _buffers(configuration: Configuration, execution: Execution) -> Iterator[Facts]:
    """Every buffer, with the time from the first write to the last read."""
    for number, buffer in enumerate(configuration.buffers):
        writes, reads = configuration.writers[number], configuration.readers[number]
        spans = [_span(execution, access.phase, *access.actor) for access in (*writes, *reads)]
        yield {
            "name": buffer.name,
            "type": str(buffer.type),
            "axes": list(buffer.slicing),
            "depth": buffer.depth,
            "slices": buffer.slices,
            "bytes": buffer.bytes,
            "units": list(buffer.units),
            "begin": min((begin for begin, _ in spans), default=0.0),
            "end": max((end for _, end in spans), default=0.0),
        }


def _span(execution: Execution, phase: int, kind: str, index: int) -> tuple[float, float]:
    """When a stage or stream begins and ends."""
    if kind == "stage":
        stage = execution.phases[phase].stages[index]
        return stage.starts[0], stage.starts[-1] + stage.interval_cycles
    stream = execution.phases[phase].streams[index]
    return stream.begins[0], stream.ends[-1]


def _step(step: PathStep, begin: float) -> list[Any]:
    spent = {bound.name.lower(): cycles for bound, cycles in step.spent.items()}
    return [begin, step.end, step.phase, step.kind, step.index, spent]


def _traffic(execution: Execution) -> Iterator[list[float]]:
    """Bytes per cycle that each tier reads and writes, as means over equal spans: begin, reads, writes."""
    span = execution.cycles / MOST_SAMPLES
    if not span or not execution.traffic:
        return
    tiers = len(execution.traffic[0].read)
    sums = [[0.0] * (2 * tiers) for _ in range(MOST_SAMPLES)]
    ends = [*(sample.time for sample in execution.traffic[1:]), execution.cycles]
    for sample, end in zip(execution.traffic, ends):
        for place in range(int(sample.time / span), MOST_SAMPLES):
            low, high = max(sample.time, place * span), min(end, (place + 1) * span)
            if low >= end:
                break
            for tier, rate in enumerate((*sample.read, *sample.write)):
                sums[place][tier] += rate * max(0.0, high - low) / span
    for place, rates in enumerate(sums):
        yield [place * span, *(round(rate, 3) for rate in rates)]
