"""How often clients that come back at once after a refusal are heard, so that refusing takes little from answers.

A connection rests after a refusal that the budget does not cover: nothing is read from it until its turn comes, and
what its client sends meanwhile waits in the socket. While few are refused, none rests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, process_time

SHARE = 0.02
"""Of the process's processor time that may go into refusals; its own, as it may get little of the computer's."""
REFUSAL_SECONDS = 2e-4
"""What a refusal takes of it on a busy computer, with its share of what connections cost; on an idle one a third."""
BURST = 200
"""Refusals that are covered at any time."""
LONGEST_REST_SECONDS = 10.0
TICK_SECONDS = 0.05


class Pace:
    """The budget, and who rests. Used from one event loop."""

    def __init__(self) -> None:
        self._covered = float(BURST)
        self._clock = process_time()
        self._resting: dict[object, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._resting)

    def covers_one(self) -> bool:
        """Take a refusal from the budget; whether it was covered."""
        self._refill()
        self._covered = max(self._covered - 1, -1.0)
        return self._covered >= 0

    def rest(self, who: object, hear: Callable[[], None]) -> None:
        """Have `hear` called when the turn of `who` comes: at once, if the budget grows fast, or at last after
        LONGEST_REST_SECONDS."""
        self._resting[who] = monotonic() + LONGEST_REST_SECONDS, hear
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def forget(self, who: object) -> None:
        """Of a connection that has ended."""
        self._resting.pop(who, None)

    def wake(self) -> None:
        """Hear everyone now: those that were refused are told, rather than cut off, when the service ends."""
        self._covered = float(BURST)
        resting, self._resting = self._resting, {}
        for _, hear in resting.values():
            hear()

    def _tick(self) -> None:
        self._refill()
        now, covered = monotonic(), int(self._covered)
        due = [who for number, (who, (until, _)) in enumerate(self._resting.items()) if number < covered or until < now]
        for who in due:
            self._resting.pop(who)[1]()
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick) if self._resting else None

    def _refill(self) -> None:
        used, self._clock = process_time() - self._clock, process_time()
        self._covered = min(BURST, self._covered + used * SHARE / REFUSAL_SECONDS)
