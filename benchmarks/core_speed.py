"""How fast a core is at the moment: processor time is longer where other work takes its caches or its clock.

    python -m benchmarks.core_speed CORE

measures the same small piece of work over and over, which takes a few hundredths of the core's time, and prints a line
for each: the moment, in seconds on the monotonic clock, and the processor time that the work took, in microseconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE_SECONDS = 0.01


class Meter:
    """What a process that measures has printed so far."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []

    def listen(self, lines: Iterator[str]) -> None:
        """Take down every line."""
        for line in lines:
            moment, took = line.split()
            self._found.append((float(moment), float(took)))

    def microseconds(self, begin: float, end: float) -> float:
        """What the work took between two moments, in the median; NaN where it never ran."""
        took = [took for moment, took in self._found if begin <= moment <= end]
        return statistics.median(took) if took else float("nan")


@contextmanager
def metering(core: int) -> Iterator[Meter]:
    """A meter of a core."""
    command = [sys.executable, "-m", "benchmarks.core_speed", str(core)]
    meter = Meter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        listener = threading.Thread(target=meter.listen, args=(iter(process.stdout.readline, ""),))
        listener.start()
        try:
            yield meter
        finally:
            process.kill()
            listener.join()


def _work() -> None:
    """Some hundred microseconds of Python, which is most of what a service does."""
    counts: dict[int, int] = {}
    for number in range(2000):
        counts[number & 63] = counts.get(number & 63, 0) + number


def main() -> None:
    """Measure until killed."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    while True:
        began = time.thread_time()
        _work()
        print(f"{time.monotonic():.4f} {(time.thread_time() - began) * 1e6:.1f}", flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
