"""A timing report as a trace that chrome://tracing and Perfetto open.

One process per section with one track per stage and stream, one for the sections themselves, and counters for the
bandwidth of each memory tier. Times are simulated microseconds. Where a track has more firings than a viewer is happy
with, neighbouring firings are drawn as one slice that says how many it stands for.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pef.files import write_bytes
from pef.nest import Nest
from runtime.timing.memory_model import TrafficSample
from runtime.timing.report import Report, SectionReport, StageReport

MOST_EVENTS = 400_000
"""Slices and counter samples in one trace: what viewers open without delay."""

DECIMALS = 6
"""Of a microsecond: a picosecond, far below a cycle."""

Event = dict[str, Any]


def write(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the trace of `report` to `path`, atomically. Raises UsageError where the file system refuses."""
    write_bytes(Path(path), json.dumps(as_trace(report), separators=(",", ":")).encode())


def as_trace(report: Report) -> dict[str, Any]:
    """The trace as a dictionary in the trace event format."""
    tracks = sum(1 + len(phase.stages) + len(phase.streams) for s in report.sections for phase in s.execution.phases)
    budget = max(16, MOST_EVENTS // max(1, tracks + len(report.sections) * len(report.machine.tiers)))
    names = [_name("process_name", 0, 0, "sections"), _name("thread_name", 0, 0, "loads and executions")]
    events = [*names, *_section_slices(report)]
    merged = False
    for position, section in enumerate(report.sections):
        for event in _section_events(report, section, position + 1, budget):
            merged = merged or event.get("args", {}).get("firings", 1) > 1
            events.append(event)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "program": report.name,
            "machine": report.machine.name,
            "time": "simulated",
            "unit": "microseconds of the simulated machine; nothing was measured",
            "slices": "neighbouring firings are merged into one slice" if merged else "one per firing",
        },
    }


def _section_slices(report: Report) -> Iterator[Event]:
    for section in report.sections:
        begin = section.start
        for name, cycles in (
            ("launch", section.launch_cycles),
            ("program load", section.program_load_cycles),
            ("argument load", section.argument_load_cycles),
            (section.name, section.execution.cycles),
        ):
            if cycles:
                args = {"section": section.name, "kind": section.kind, "bound": section.bound.value}
                yield _slice(report, 0, 0, name, begin, begin + cycles, args)
            begin += cycles


def _section_events(report: Report, section: SectionReport, process: int, budget: int) -> Iterator[Event]:
    yield _name("process_name", process, 0, f"{section.kind} {section.name}")
    track = 0
    for number, phase in enumerate(section.execution.phases):
        for stage in phase.stages:
            track += 1
            yield _name("thread_name", process, track, f"phase {number} stage {stage.name}")
            ends = [start + stage.interval_cycles for start in stage.starts]
            facts = {"operators": " ".join(stage.operators), "source": _source(section, stage)}
            actor = _Actor(stage.name, facts, stage.loops, stage.starts, ends)
            yield from _firings(report, section, (process, track), actor, budget)
        for stream in phase.streams:
            track += 1
            name = f"{'store' if stream.store else 'load'} {section.symbols[stream.slot]}"
            yield _name("thread_name", process, track, f"phase {number} {name}")
            facts = {"symbol": section.symbols[stream.slot], "buffer": stream.buffer}
            loops = _loops_of(phase.loops, len(stream.ends))
            actor = _Actor(name, facts, loops, stream.begins, stream.ends, stream.transfer_bytes)
            yield from _firings(report, section, (process, track), actor, budget)
    yield from _counters(report, section, budget)


@dataclass(frozen=True, slots=True)
class _Actor:
    """A stage or a stream: what its slices say, the loops it runs, its events, and the bytes that each moves."""

    name: str
    facts: Event
    loops: Sequence[int]
    begins: Sequence[float]
    ends: Sequence[float]
    bytes: int = 0


def _firings(
    report: Report, section: SectionReport, track: tuple[int, int], actor: _Actor, budget: int
) -> Iterator[Event]:
    """Slices for the events of one actor, at most `budget` of them; of merged ones, the loop indices of the first."""
    begins, ends, nest = actor.begins, actor.ends, Nest(tuple(actor.loops))
    stride = -(-len(begins) // budget)
    for first in range(0, len(begins), stride or 1):
        last = min(first + stride, len(begins)) - 1
        label = f"{actor.name} {first}" if first == last else f"{actor.name} {first}-{last}"
        begin, end = section.exec_start + begins[first], section.exec_start + ends[last]
        args = {"tile": first, "firings": last - first + 1, **actor.facts}
        if actor.loops:
            args["loop"] = list(nest.index(first, len(actor.loops)))
        if actor.bytes:
            args["bytes"] = actor.bytes * (last - first + 1)
        yield _slice(report, *track, label, begin, end, args)


def _loops_of(loops: Sequence[int], events: int) -> Sequence[int]:
    """The outer loops of a phase that a stream with so many transfers runs; none for a load of distinct slices."""
    levels = (level for level in range(len(loops) + 1) if math.prod(loops[:level]) == events)
    return loops[: next(levels, 0)]


def _source(section: SectionReport, stage: StageReport) -> str:
    """The user's lines behind a stage."""
    located = [section.locations[i] for i in stage.operations if i < len(section.locations)]
    return " ".join(dict.fromkeys(location.place for location in located))


def _counters(report: Report, section: SectionReport, budget: int) -> Iterator[Event]:
    """Bandwidth of each tier over the section, falling to nothing at its end."""
    traffic = _thinned(section.execution.traffic, section.execution.cycles, budget)
    to_gb_per_s = report.machine.clock_ghz
    for tier, memory in enumerate(report.machine.tiers):
        for sample in traffic:
            yield {
                "ph": "C",
                "pid": 0,
                "name": f"{memory.name} GB/s",
                "ts": _us(report, section.exec_start + sample.time),
                "args": {"read": sample.read[tier] * to_gb_per_s, "write": sample.write[tier] * to_gb_per_s},
            }


def _thinned(traffic: Sequence[TrafficSample], end: float, budget: int) -> list[TrafficSample]:
    """The samples, or their means over `budget` equal spans where there are more, closed by a zero at `end`."""
    if not traffic:
        return []
    tiers = len(traffic[0].read)
    nothing = TrafficSample(end, (0.0,) * tiers, (0.0,) * tiers)
    if len(traffic) <= budget:
        return [sample for sample in traffic if sample.time < end] + [nothing]
    span = end / budget
    read = [[0.0] * tiers for _ in range(budget)]
    write = [[0.0] * tiers for _ in range(budget)]
    for sample, following in pairwise([*traffic, nothing]):
        for bin_, weight in _overlaps(sample.time, following.time, span, budget):
            for tier in range(tiers):
                read[bin_][tier] += sample.read[tier] * weight
                write[bin_][tier] += sample.write[tier] * weight
    means = [TrafficSample(i * span, tuple(read[i]), tuple(write[i])) for i in range(budget)]
    return [*means, nothing]


def _overlaps(begin: float, end: float, span: float, spans: int) -> Iterator[tuple[int, float]]:
    """Each span that [begin, end) touches, and the share of the span that it covers."""
    for number in range(int(begin / span), spans):
        low, high = max(begin, number * span), min(end, (number + 1) * span)
        if low >= end:
            return
        yield number, max(0.0, high - low) / span


def _slice(report: Report, process: int, track: int, name: str, begin: float, end: float, args: Event) -> Event:
    start = _us(report, begin)
    duration = round(_us(report, end) - start, DECIMALS)
    return {"ph": "X", "pid": process, "tid": track, "name": name, "ts": start, "dur": duration, "args": args}


def _name(kind: str, process: int, track: int, name: str) -> Event:
    return {"ph": "M", "pid": process, "tid": track, "name": kind, "args": {"name": name}}


def _us(report: Report, cycles: float) -> float:
    return round(report.us(cycles), DECIMALS)
