"""A load generator: many clients in one process, over sockets of their own, that lose no answer unnoticed.

Closed loop: every client sends its next request when it has its answer. Open loop: requests come at moments that a
Poisson process chose beforehand, as in MLPerf's server scenario, however slow the service is, while a connection is
free.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np

Check = Callable[[int, Any], bool]
"""Whether the answer to request number i is right."""


@dataclass
class Outcome:
    """What became of the requests of one run. latency: seconds, of answers with status 200.

    Rates are those of the time in which `counting` is set: what came before or comes later is not paid for here either.
    """

    counting: bool = False
    seconds: float = 0.0
    """How long it was counted."""
    began: float = 0.0
    """Since when, on the monotonic clock."""
    service_seconds: float = 0.0
    """Processor time of the service meanwhile."""
    sent: int = 0
    """Requests meanwhile."""
    statuses: Counter[int] = field(default_factory=Counter)
    latency: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0
    """Connections that ended without an answer."""
    without_retry_after: int = 0
    in_time: int = 0
    """Right answers before the deadline, meanwhile."""

    @property
    def goodput(self) -> float:
        """Right answers in time, per second."""
        return self.in_time / self.seconds

    @property
    def per_service_second(self) -> float:
        """The same, per second of the service's processor time."""
        return self.in_time / self.service_seconds

    def summary(self) -> dict[str, Any]:
        """For JSON: rates per second of host time, latencies in milliseconds of host time."""
        times = np.array(self.latency or [np.nan]) * 1e3
        points = {f"p{q}_ms": round(float(np.percentile(times, q)), 2) for q in (50, 95, 99)}
        return {
            "requests": sum(self.statuses.values()) + self.lost,
            "offered": round(self.sent / self.seconds, 1),
            "statuses": {str(code): count for code, count in sorted(self.statuses.items())},
            "goodput": round(self.goodput, 1),
            "goodput_per_cpu_second": round(self.per_service_second, 1),
            **points,
            "wrong": self.wrong,
            "lost": self.lost,
            "refused_without_retry_after": self.without_retry_after,
        }


class Connection(asyncio.Protocol):
    """HTTP/1.1 on one socket, one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._read = b""

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body. Raises OSError where there is no answer."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, self._host, self._port)
        assert self._transport is not None
        self._read = b""
        self._answer = loop.create_future()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        first, content = await self._answer
        lines = first.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return int(lines[0].split()[1]), fields, content

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Of asyncio.Protocol."""
        self._read += data
        first, end, content = self._read.partition(b"\r\n\r\n")
        if not end or self._answer is None or self._answer.done():
            return
        size = first.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(content) >= int(size):
            self._answer.set_result((first, content))

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio.Protocol."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the connection ended"))

    def close(self) -> None:
        """End it; the next request opens another."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


@dataclass
class Load:
    """Requests for one service. bodies: sent in turn; service_clock: processor
    time of the service so far; deadline: seconds each may take to count as answered in time."""

    url: str
    path: str
    bodies: list[bytes]
    check: Check
    service_clock: Callable[[], float]
    deadline: float = float("inf")

    async def closed(self, clients: int, seconds: float) -> Outcome:
        """As many requests as so many clients get answered."""
        outcome = Outcome(counting=True, began=time.monotonic())
        spent, began = self.service_clock(), time.perf_counter()

        async def client(number: int) -> None:
            connection = Connection(self.url)
            while time.perf_counter() - began < seconds:
                await self._ask(connection, number, outcome)
                number += clients
            connection.close()

        await asyncio.gather(*(client(number) for number in range(clients)))
        outcome.seconds, outcome.service_seconds = time.perf_counter() - began, self.service_clock() - spent
        return outcome

    async def open(
        self, rate: float, seconds: float, connections: int, settling_seconds: float = 0.0, seed: int = 0
    ) -> Outcome:
        """Requests at so many a second, on average, on so many connections; where all are busy, none is sent.

        settling_seconds: how long it goes on before it is counted.
        """
        outcome = Outcome()
        seconds += settling_seconds
        moments = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, max(1, round(rate * seconds))))
        idle = [Connection(self.url) for _ in range(connections)]
        freed = asyncio.Event()
        began = time.perf_counter()
        counted = asyncio.create_task(self._count(outcome, settling_seconds, seconds))
        tasks: set[asyncio.Task[None]] = set()

        async def one(number: int) -> None:
            connection = idle.pop()
            await self._ask(connection, number, outcome)
            idle.append(connection)
            freed.set()

        number = 0
        while number < len(moments) and time.perf_counter() < began + seconds:
            if len(tasks) == connections:
                freed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(freed.wait(), max(0.0, began + seconds - time.perf_counter()))
                number = max(number, int(np.searchsorted(moments, time.perf_counter() - began)))
                continue
            await asyncio.sleep(max(0.0, began + min(moments[number], seconds) - time.perf_counter()))
            task = asyncio.create_task(one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.gather(counted, *tasks)
        for connection in idle:
            connection.close()
        return outcome

    async def _count(self, outcome: Outcome, start: float, end: float) -> None:
        """Count from one moment to another, in seconds from now."""
        await asyncio.sleep(start)
        spent, began = self.service_clock(), time.perf_counter()
        outcome.counting, outcome.began = True, time.monotonic()
        await asyncio.sleep(end - start)
        outcome.counting = False
        outcome.seconds, outcome.service_seconds = time.perf_counter() - began, self.service_clock() - spent

    async def _ask(self, connection: Connection, number: int, outcome: Outcome) -> None:
        body = self.bodies[number % len(self.bodies)]
        began = time.perf_counter()
        outcome.sent += outcome.counting
        try:
            status, fields, content = await connection.post(self.path, body)
        except OSError:
            outcome.lost += 1
            return
        took = time.perf_counter() - began
        outcome.statuses[status] += 1
        if status == 200:
            right = self.check(number % len(self.bodies), json.loads(content))
            outcome.wrong += not right
            outcome.latency.append(took)
            outcome.in_time += outcome.counting and right and took <= self.deadline
        elif status in (429, 503):
            outcome.without_retry_after += "retry-after" not in fields
