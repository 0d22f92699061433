"""When refusals are sent, so that clients that come back at once take little from answers.

A refusal that the budget does not cover is held: its client, who cannot send another request on the connection before
it has its answer, waits for it. While few are refused, or the service has nothing else to do, none is held. Every
request is judged when it comes, or a moment later where the connection was held before: what comes back is read
together, because reading one alone, between other work, costs several times as much. So none is taken that has waited
unseen for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, process_time

SHARE = 0.01
"""Of the process's processor time that may go into refusals; its own, as it may get little of the computer's."""
REFUSAL_SECONDS = 2e-4
"""What a refusal takes of it on a busy computer, with its share of what connections cost; on an idle one a third."""
BURST = 100
"""Refusals that are covered at any time."""
LONGEST_HOLD_SECONDS = 10.0
TICK_SECONDS = 0.2
HEARD_AFTER_SECONDS = 0.02
"""How long those that were told are not listened to: long enough for most to come back, so that they are read together,
and short beside what an answer takes."""
IDLE_TICKS = 3
"""So often in a row the service must be found with nothing to do before all are sent: between the answers to a batch of
clients and their next requests it has nothing to do either, for a moment."""


class Pace:
    """The budget, and what is held. Used from one event loop. idle: whether the service has nothing to do."""

    def __init__(self, idle: Callable[[], bool]) -> None:
        self._idle = idle
        self._covered = float(BURST)
        self._clock = process_time()
        self._held: dict[object, tuple[float, Callable[[], Callable[[], None]]]] = {}
        self._told: dict[object, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._idle_ticks = 0
        self._ended = False

    def __len__(self) -> int:
        return len(self._held)

    def covers_one(self) -> bool:
        """Take a refusal from the budget, if it covers one; those that are held already come first."""
        if self._held:
            return False
        self._refill()
        covered = self._covered >= 1
        self._covered -= covered
        return covered or self._ended

    def hold(self, who: object, tell: Callable[[], Callable[[], None]]) -> None:
        """Have `tell` called when the turn of `who` comes, after LONGEST_HOLD_SECONDS at most, and a moment later what
        it returns: `who` is listened to again then."""
        self._held[who] = monotonic() + LONGEST_HOLD_SECONDS, tell
        if self._timer is None:
            self._idle_ticks = 0
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def forget(self, who: object) -> None:
        """Of a connection that has ended."""
        self._held.pop(who, None)
        self._told.pop(who, None)

    def release(self) -> None:
        """Tell everyone now."""
        self._hear()
        held, self._held = self._held, {}
        for _, tell in held.values():
            tell()()

    def end(self) -> None:
        """Tell everyone now, and hold nothing any more: the service ends, and a held refusal would be cut off."""
        self._ended = True
        self.release()

    def _tick(self) -> None:
        self._refill()
        self._idle_ticks = self._idle_ticks + 1 if self._idle() else 0
        if self._idle_ticks >= IDLE_TICKS:
            self.release()
        covered, now = int(self._covered), monotonic()
        due = [who for number, (who, (until, _)) in enumerate(self._held.items()) if number < covered or until < now]
        self._covered -= min(covered, len(due))
        for who in due:
            self._told[who] = self._held.pop(who)[1]()
        loop = asyncio.get_running_loop()
        if self._told:
            loop.call_later(HEARD_AFTER_SECONDS, self._hear)
        self._timer = loop.call_later(TICK_SECONDS, self._tick) if self._held else None

    def _hear(self) -> None:
        told, self._told = self._told, {}
        for hear in told.values():
            hear()

    def _refill(self) -> None:
        now = process_time()
        self._covered = min(BURST, self._covered + (now - self._clock) * SHARE / REFUSAL_SECONDS)
        self._clock = now
