"""A profiler of the host's events: named spans, nested in any way, counted while profiling is on."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


class Event:
    """A span: `with profiler.event('load'): ...`, or a decorator of a function."""

    def __init__(self, profiler: Profiler, name: str) -> None:
        self._profiler = profiler
        self._name = name
        self._handles: list[int | None] = []

    def __enter__(self) -> Event:
        self._handles.append(self._profiler.start_event(self._name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._profiler.end_event(self._handles.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with Event(self._profiler, self._name):
                return function(*arguments, **named)

        return timed


class Profiler:
    """Records the seconds of each occurrence of named events, in order, between start_profile and stop_profile."""

    def __init__(self) -> None:
        self.enabled = False
        self._times: dict[str, list[float]] = {}
        self._open: dict[int, tuple[str, float]] = {}
        self._next = 0

    def start_profile(self) -> None:
        """Record from now on, from nothing."""
        self._times.clear()
        self._open.clear()
        self.enabled = True

    def stop_profile(self) -> None:
        """Stop recording; what was recorded stays."""
        self.enabled = False

    def start_event(self, name: str) -> int | None:
        """Begin a span; None while profiling is off."""
        if not self.enabled:
            return None
        self._next += 1
        self._open[self._next] = (name, time.perf_counter())
        return self._next

    def end_event(self, handle: int | None) -> None:
        """End the span that start_event began."""
        if handle in self._open:
            name, began = self._open.pop(handle)
            self._times.setdefault(name, []).append(time.perf_counter() - began)

    def event(self, name: str) -> Event:
        """A span as a context manager or decorator."""
        return Event(self, name)

    def get_latencies(self, names: Sequence[str], skip: int = 0) -> dict[str, float]:
        """Mean seconds of each event, without its first `skip` occurrences; 0 where there is none."""
        return {name: _mean(self._times.get(name, [])[skip:]) for name in names}

    def get_throughputs(self, names: Sequence[str], samples_per_iter: int = 1, skip: int = 0) -> dict[str, float]:
        """Samples per second of each event."""
        latencies = self.get_latencies(names, skip)
        return {name: samples_per_iter / seconds if seconds else 0.0 for name, seconds in latencies.items()}

    def _get_iter_times(self, name: str, start: int = 0) -> list[float]:
        return self._times.get(name, [])[start:]

    def print_statistics(
        self,
        names: Sequence[str] | None = None,
        warmup: int = 0,
        num_samples_per_iter: int = 1,
        measurements: Sequence[str] = ("latency", "throughput"),
    ) -> str:
        """A table of the events as text: one line each, with the measurements asked for."""
        names = list(self._times) if names is None else names
        lines = []
        for name in names:
            taken = self._times.get(name, [])[warmup:]
            parts = [f"{name}: {len(taken)} times"]
            if "latency" in measurements:
                parts.append(f"latency {_mean(taken) * 1e3:.3f} ms")
            if "throughput" in measurements and taken:
                parts.append(f"throughput {num_samples_per_iter / _mean(taken):.1f} samples/s")
            lines.append(", ".join(parts))
        return "\n".join(lines)

    def write(self, filename: str) -> None:
        """Write the statistics of all events to a file."""
        Path(filename).write_text(self.print_statistics() + "\n")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
