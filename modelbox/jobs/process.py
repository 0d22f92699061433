"""The process that a job runs in: its own, so that neither its memory nor its end is the service's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

LINE_BYTES = 2**20


class Worker:
    """A process that is given a job on its input and tells events on its output, a line of JSON each.

    It ends in order when its input does, so also when the service is killed.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._is_cancelled = False

    async def events(self, job: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Start it, and listen until it ends."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "modelbox.jobs.work",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        await self._process.stdin.drain()
        if self._is_cancelled:
            self.cancel()
        while event := await self._next():
            yield event
        await self._process.wait()

    def cancel(self) -> None:
        """Ask it to end."""
        self._is_cancelled = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def rest(self) -> list[dict[str, Any]]:
        """The events until it ends."""
        found = []
        if self._process is not None:
            while event := await self._next():
                found.append(event)
            await self._process.wait()
        return found

    async def ended(self) -> None:
        """Wait for its end; somebody else listens."""
        if self._process is not None:
            await self._process.wait()

    async def _next(self) -> dict[str, Any] | None:
        assert self._process is not None and self._process.stdout is not None
        line = await self._process.stdout.readline()
        event: dict[str, Any] | None = json.loads(line) if line else None
        return event
