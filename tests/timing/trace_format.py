"""What the public Trace Event Format asks of a file that chrome://tracing and Perfetto open, sentence by sentence.

Only phases that we write may occur: complete events (X), counters (C) and metadata (M).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]

METADATA = {
    "process_name": ("name", str),
    "process_labels": ("labels", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
"""The metadata events that the format knows, and the argument of each."""

ROUNDING_US = 2e-6
"""Of two times that were rounded to a picosecond each."""


def faults(data: Any) -> Iterator[str]:
    """Everything that is wrong with a trace, in words."""
    if not isinstance(data, dict) or not isinstance(data.get("traceEvents"), list):
        yield "a trace is an object whose traceEvents are a list"
        return
    if data.get("displayTimeUnit") not in ("ms", "ns"):
        yield "displayTimeUnit is ms or ns"
    for event in data["traceEvents"]:
        for fault in _of_one(event):
            yield f"{fault}: {event}"
    well_typed = [event for event in data["traceEvents"] if not any(_of_one(event))]
    yield from _unnamed(well_typed)
    yield from _badly_nested(well_typed)


def _of_one(event: Event) -> Iterator[str]:
    if not isinstance(event.get("name"), str):
        yield "an event has a name"
    if not _is_whole(event.get("pid")):
        yield "an event has the number of a process"
    if event.get("ph") != "C" and not _is_whole(event.get("tid")):
        yield "an event that is no counter has the number of a thread"
    if not isinstance(event.get("args", {}), dict):
        yield "arguments are an object"
    match event.get("ph"):
        case "X":
            if not _is_time(event.get("ts")) or not _is_time(event.get("dur")):
                yield "a complete event has a start and a duration, neither negative"
        case "C":
            if not _is_time(event.get("ts")):
                yield "a counter has a time"
            series = event.get("args") or {None: None}
            if not all(_is_number(value) for value in series.values()):
                yield "a counter has series of numbers"
        case "M":
            argument, kind = METADATA.get(event.get("name", ""), ("", object))
            if type(event.get("args", {}).get(argument)) is not kind:
                yield "metadata are of a known kind, with its argument"
        case phase:
            yield f"phase {phase!r} is not one of ours"


def _unnamed(events: list[Event]) -> Iterator[str]:
    """Names are optional in the format; without them a viewer shows numbers."""
    processes = {event["pid"] for event in events if event["name"] == "process_name" and event["ph"] == "M"}
    threads = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    slices = [event for event in events if event["ph"] == "X"]
    yield from (f"process {pid} has no name" for pid in {event["pid"] for event in events} - processes)
    yield from (f"thread {where} has no name" for where in {(event["pid"], event["tid"]) for event in slices} - threads)


def _badly_nested(events: list[Event]) -> Iterator[str]:
    """Slices of one thread lie beside or within one another: viewers draw them as a stack of calls."""
    threads: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append(event)
    for where, slices in threads.items():
        open_until: list[float] = []
        for event in sorted(slices, key=lambda event: (event["ts"], -event["dur"])):
            while open_until and open_until[-1] <= event["ts"] + ROUNDING_US:
                open_until.pop()
            if open_until and event["ts"] + event["dur"] > open_until[-1] + ROUNDING_US:
                yield f"thread {where}: {event['name']} begins within a slice and ends after it"
            open_until.append(event["ts"] + event["dur"])


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_time(value: object) -> bool:
    return _is_number(value) and value >= 0  # type: ignore[operator]
