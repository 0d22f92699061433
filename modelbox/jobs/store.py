"""Jobs, running and past: every one has a folder in the box's state, and is on the disk before anybody hears of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modelbox.box_file import Home, Profile
from modelbox.jobs.process import Worker
from modelbox.refusal import Reason, Refusal
from pef.files import write_bytes

log = logging.getLogger("snc.box")

RUNNING, DONE, CANCELLED, FAILED, INTERRUPTED = "running", "done", "cancelled", "failed", "interrupted"
RECORD = "job.json"
CHECKPOINTS = "step-*.safetensors"


@dataclass(frozen=True)
class Job:
    """What is remembered of a job. step and path: of the last checkpoint; of a compile, path is the PEF's."""

    id: str
    kind: str
    request: dict[str, Any]
    state: str = RUNNING
    message: str = ""
    step: int = 0
    path: str = ""


Event = dict[str, Any]


class Jobs:
    """The jobs of a box. One runs at a time."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folder = home.state / "jobs"
        self._running: tuple[str, Worker] | None = None

    def recover(self) -> None:
        """Jobs that ran when the service was killed are interrupted; their checkpoints are still there."""
        for job in self.all():
            if job.state == RUNNING:
                self._keep(replace(job, state=INTERRUPTED, message="the service ended while it ran"))

    def all(self) -> list[Job]:
        """All jobs in the order they were started."""
        found = []
        for path in sorted(self._folder.glob(f"*/{RECORD}")):
            with suppress(ValueError, TypeError):
                found.append(Job(**json.loads(path.read_text())))
        return found

    def find(self, identity: str) -> Job:
        """A job. Raises Refusal where there is none."""
        for job in self.all():
            if job.id == identity:
                return job
        raise Refusal(Reason.NOT_FOUND, f"there is no job {identity!r}", parameter="id")

    def profiles(self) -> list[Profile]:
        """The profiles that were compiled here, beside those of box.yaml."""
        done = (job for job in self.all() if job.kind == "compile" and job.state == DONE)
        found = {job.request["profile"]["name"]: Profile.model_validate(job.request["profile"]) for job in done}
        return list(found.values())

    def last_checkpoint(self, identity: str) -> Path:
        """Of a training job, whether or not it lived to tell of it. Raises Refusal where there is none."""
        self.find(identity)
        found = sorted((self._folder / identity).glob(CHECKPOINTS))
        if not found:
            raise Refusal(Reason.CONFLICT, f"job {identity} left no checkpoint", parameter="resume")
        return found[-1]

    async def run(self, kind: str, request: Mapping[str, Any]) -> AsyncIterator[tuple[str, Event]]:
        """Run a job; yields its id with every event, once what the event tells of is on the disk.

        Whoever stops listening cancels the job. Raises Refusal where another one runs.
        """
        if self._running is not None:
            raise Refusal(Reason.BUSY, f"job {self._running[0]} runs: one at a time", retry_after=10)
        job = self._new(kind, dict(request))
        worker = Worker()
        self._running = (job.id, worker)
        try:
            yield job.id, {"event": "started"}
            given = {**request, "kind": kind, "box": str(self._home.folder), "folder": str(self._folder / job.id)}
            async for event in worker.events(given):
                job = self._after(job, event)
                yield job.id, event
        except (asyncio.CancelledError, GeneratorExit):
            job = await self._cancelled(job, worker)
            raise
        finally:
            self._running = None
            if job.state == RUNNING:
                self._keep(replace(job, state=FAILED, message="the job's process ended without a word"))

    async def cancel(self, identity: str) -> Job:
        """Ask a job to end. Raises Refusal where it does not run."""
        job = self.find(identity)
        if self._running is None or self._running[0] != identity:
            raise Refusal(Reason.CONFLICT, f"job {identity} does not run: it is {job.state}", parameter="id")
        self._running[1].cancel()
        return job

    async def stop(self) -> None:
        """Ask whatever runs to end, and wait for it: the service ends."""
        if self._running is not None:
            worker = self._running[1]
            worker.cancel()
            await worker.ended()
            while self._running is not None:
                await asyncio.sleep(0.01)

    async def _cancelled(self, job: Job, worker: Worker) -> Job:
        """The client went away: end the worker, and keep what it left."""
        worker.cancel()
        for event in await worker.rest():
            job = self._after(job, event)
        if job.state == RUNNING:
            job = replace(job, state=CANCELLED, message="the client went away")
            self._keep(job)
        return job

    def _after(self, job: Job, event: Event) -> Job:
        """The record after an event, kept where it changed."""
        if event["event"] == "checkpoint":
            job = replace(job, step=event["step"], path=self._within(event["path"]))
            event["path"] = job.path
        elif event["event"] == "finished":
            path = self._within(event["path"]) if event.get("path") else job.path
            job = replace(job, state=event["state"], message=event.get("message", ""), path=path)
            event["path"] = path
        else:
            return job
        self._keep(job)
        return job

    def _within(self, path: str) -> str:
        return str(Path(path).relative_to(self._home.folder))

    def _new(self, kind: str, request: dict[str, Any]) -> Job:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name.split("-")[0]) for path in self._folder.glob("[0-9]*-*")), default=0)
        job = Job(f"{number:06d}-{kind}", kind, request)
        (self._folder / job.id).mkdir()
        self._keep(job)
        return job

    def _keep(self, job: Job) -> None:
        write_bytes(self._folder / job.id / RECORD, json.dumps(asdict(job), indent=1).encode())
