"""What tiles do with their time, from what runs report of themselves.

A run counts simulated time on the RDU (execution, program load, argument load) and, between runs of sections, time of
the host, during which its tiles idle. It reports the sums; shares over an interval are differences of sums.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

BUSY = ("exec", "pload", "aload", "chkpt", "quiesce")
"""What a tile does when it is not idle, in the order of sntilestat's columns."""
COLUMNS = ("idle", *BUSY)
LONGEST_SECONDS = 600.0
"""How far back an interval can reach."""
SPACING_SECONDS = 0.2
"""Reports closer than this to the one before take its place."""

Busy = tuple[float, float, float, float, float]
IDLE_PERCENT = (100.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sums:
    """Since a session began: time in all and, for each of its tiles, what it was busy with; in microseconds."""

    total_us: float
    busy_us: Mapping[int, Busy]


class History:
    """The sums that a session reported, with the moments they arrived at, in seconds of any steady clock."""

    def __init__(self, now: float) -> None:
        self._reports: deque[tuple[float, Sums]] = deque([(now, Sums(0.0, {}))])

    def add(self, now: float, sums: Sums) -> None:
        """Take in a report."""
        reports = self._reports
        if len(reports) > 2 and now - reports[-2][0] < SPACING_SECONDS:
            reports.pop()
        reports.append((now, sums))
        while len(reports) > 2 and reports[1][0] < now - LONGEST_SECONDS:
            reports.popleft()

    def percent(self, tile: int, now: float, seconds: float) -> tuple[float, ...]:
        """Shares of the last `seconds`, by COLUMNS; they add up to 100.

        Where nothing was reported in that time, as in a long step, they are those of the last time that was.
        """
        end = self._reports[-1][1]
        start = end
        for moment, sums in reversed(self._reports):
            if sums.total_us < end.total_us:
                start = sums
                if moment <= now - seconds:
                    break
        total = end.total_us - start.total_us
        if total <= 0:
            return IDLE_PERCENT
        none: Busy = (0.0, 0.0, 0.0, 0.0, 0.0)
        before, after = start.busy_us.get(tile, none), end.busy_us.get(tile, none)
        busy = [100 * (late - early) / total for early, late in zip(before, after)]
        return (max(0.0, 100 - sum(busy)), *busy)
