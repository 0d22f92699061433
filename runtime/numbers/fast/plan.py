"""A section's plan: every kernel call with its arrays, laid out once and then only executed.

A plan is a sequence of parts, a part a fixed set of lanes, a lane a flat list of steps. Lanes of one part touch
different memory and run on any number of threads. Where float sums associate, which lanes there are and the order
inside each follow from the PEF alone; elsewhere there are no more lanes than threads. So results are bit-identical
whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Step = tuple[Callable[..., Any], tuple[Any, ...]]
Lane = list[Step]


class Plan:
    """The parts of one section, in order."""

    def __init__(self) -> None:
        self.parts: list[list[Lane]] = []

    def add(self, lanes: Sequence[Lane]) -> None:
        """Append a part, joining serial parts that follow one another."""
        used = [lane for lane in lanes if lane]
        if not used:
            return
        if len(used) == 1 and self.parts and len(self.parts[-1]) == 1:
            self.parts[-1][0].extend(used[0])
        else:
            self.parts.append([list(lane) for lane in used])

    @property
    def steps(self) -> int:
        """Kernel calls of one execution."""
        return sum(len(lane) for part in self.parts for lane in part)


class Executor:
    """Runs plans on a fixed number of threads, the caller's included."""

    def __init__(self, threads: int) -> None:
        self.threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self.threads - 1, "rdu") if self.threads > 1 else None

    def run(self, plan: Plan) -> None:
        """Execute every part of `plan`."""
        for part in plan.parts:
            if len(part) > 1 and self._pool is not None:
                self._run_lanes(part, self._pool)
            else:
                for lane in part:
                    _run_steps(lane)

    def _run_lanes(self, lanes: list[Lane], pool: ThreadPoolExecutor) -> None:
        waiting = deque(lanes)
        helpers = [pool.submit(_drain, waiting) for _ in range(min(self.threads, len(lanes)) - 1)]
        try:
            _drain(waiting)
        finally:
            for helper in helpers:
                helper.result()

    def close(self) -> None:
        """Give the threads back."""
        if self._pool is not None:
            self._pool.shutdown()


def _drain(waiting: deque[Lane]) -> None:
    """Run lanes until none waits; NumPy's handling of exceptions is each thread's own."""
    with np.errstate(all="ignore"):
        while True:
            try:
                lane = waiting.popleft()
            except IndexError:
                return
            _run_steps(lane)


def _run_steps(lane: Lane) -> None:
    for kernel, arguments in lane:
        kernel(*arguments)
