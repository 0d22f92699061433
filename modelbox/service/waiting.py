"""The bounded queue between the protocols and the device."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from modelbox.box_file import Limits
from modelbox.refusal import Reason, Refusal

log = logging.getLogger("snc.box")

SMOOTHING = 0.1
"""Share of the latest request in the mean time that one takes."""


class Ticket(Protocol):
    """A request that waits: how large it is, and whether anybody still waits for it."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

    @property
    def gone(self) -> bool:
        """Whether it was given up."""


T = TypeVar("T", bound=Ticket)


class Waiting(Generic[T]):
    """Requests in the order they came. Safe to use from several threads.

    pending: requests that wait or are being worked on.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tickets: deque[T] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._closed: Refusal | None = None
        self._ended = False
        self._seconds_each = 0.0
        self.pending = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def offer(self, tickets: Sequence[T], wake: bool = True) -> None:
        """Let requests wait, all or none of them. Raises Refusal where there is no room, or no more are taken.

        wake: False where others come at the same moment, and `wake` is called after the last.
        """
        size = sum(ticket.nbytes for ticket in tickets)
        with self._changed:
            if self._closed is not None:
                raise self._ending(self._closed)
            waiting = len(self._tickets)
            if len(tickets) > self._limits.queue or size > self._limits.queued_bytes:
                what = f"the request asks for {len(tickets)} answers from {size} bytes at once"
                raise Refusal(Reason.TOO_LARGE, f"{what}: more than ever wait ({self._limits.queue})")
            if waiting + len(tickets) > self._limits.queue or self._bytes + size > self._limits.queued_bytes:
                raise _busy(waiting, self._seconds_each)
            self._tickets.extend(tickets)
            self._bytes += size
            self.pending += len(tickets)
            if wake:
                self._changed.notify_all()

    def wake(self) -> None:
        """Whoever waits for a request looks again."""
        with self._changed:
            self._changed.notify_all()

    def has_room(self, in_flight: int = 0) -> bool:
        """Whether one more request could wait.

        Those in flight that are not pending are still being read, or written, and are counted too: of many that come
        at one moment, none waits yet when the last one comes.
        """
        return self._closed is None and self._waiting(in_flight) < self._limits.queue

    def full(self, in_flight: int = 0) -> Refusal | None:
        """Why not one more request could wait, if so: what it costs to read it can then be saved."""
        if self.has_room(in_flight):
            return None
        if self._closed is not None:
            return self._ending(self._closed)
        return _busy(self._waiting(in_flight), self._seconds_each)

    def _waiting(self, in_flight: int) -> int:
        return len(self._tickets) + max(0, in_flight - self.pending)

    def take(self, fits: Callable[[T], bool], wait: bool = False) -> T | None:
        """The first request that fits; None where there is none, or, with `wait`, once the queue has ended.

        Requests that were given up go by the way.
        """
        with self._changed:
            while True:
                for ticket in list(self._tickets):
                    if ticket.gone:
                        self._remove(ticket)
                        self.pending -= 1
                    elif fits(ticket):
                        self._remove(ticket)
                        return ticket
                if not wait or self._ended:
                    return None
                self._changed.wait()

    def finished(self, seconds: float) -> None:
        """A request that was taken is answered, after so many seconds of work."""
        with self._changed:
            self.pending -= 1
            self._seconds_each += SMOOTHING * (seconds - self._seconds_each)

    def close(self, why: Refusal) -> None:
        """Take no more requests; those that wait are still worked on."""
        with self._changed:
            self._closed = why

    def end(self) -> None:
        """Whoever waits for a request goes home."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether there will be no more."""
        return self._ended

    def _ending(self, why: Refusal) -> Refusal:
        return Refusal(why.reason, why.message, retry_after=self._limits.drain_seconds)

    def _remove(self, ticket: T) -> None:
        self._tickets.remove(ticket)
        self._bytes -= ticket.nbytes


def _busy(waiting: int, seconds_each: float) -> Refusal:
    message = f"{waiting} requests wait already: try again later"
    return Refusal(Reason.BUSY, message, retry_after=seconds_each * waiting)


def guarded(work: Callable[[], None], waiting: Waiting[T]) -> None:
    """The device's thread. Should it fail where nothing is foreseen, no request is let in that nobody would answer."""
    try:
        work()
    except BaseException:
        log.exception("the device's thread failed")
        waiting.close(Refusal(Reason.UNAVAILABLE, "the service has failed; its log says more"))
        raise


def deadline(limits: Limits, seconds: float | None = None) -> float:
    """When a request that comes now is given up, on the monotonic clock."""
    return time.monotonic() + min(limits.request_seconds, limits.request_seconds if seconds is None else seconds)
