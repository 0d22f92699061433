"""Results on their way from the device's thread to the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any


class Post:
    """Tells the event loop of results, many at a time: waking it costs more than most of what it does with one."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._collecting = self._woken = False

    def watch(self, future: Future[Any], call: Callable[[], None]) -> None:
        """Have the running event loop make a call when the future is done. Of one event loop alone."""
        self._loop = asyncio.get_running_loop()
        future.add_done_callback(lambda done: self._put(call))

    @contextmanager
    def together(self) -> Iterator[None]:
        """In the device's thread: what is done in here reaches the loop at the end, as one."""
        self._collecting = True
        try:
            yield
        finally:
            self._collecting = False
            if self._calls:
                self._wake()

    def _put(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if not self._collecting:
            self._wake()

    def _wake(self) -> None:
        # In this order: whoever finds the loop woken has put its call before the loop looks.
        if not self._woken and self._loop is not None and not self._loop.is_closed():
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._calls:
            self._calls.popleft()()
