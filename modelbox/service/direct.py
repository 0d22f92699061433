"""Requests for tensors that the door answers itself: the same answers as those of the application's route, for less.

The application's machinery costs several times what reading a small request, running it and writing its answer do.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from modelbox.service import open_inference
from modelbox.service.open_inference import InferenceRequest, Question
from modelbox.service.service import Service
from modelbox.service.tensor_model import Inference

INFER = re.compile(r"^/v2/models/(?P<model>[!-$&-.0->@-~]+)(?:/versions/(?P<version>[!-$&-.0->@-~]+))?/infer$")
"""A path and no query, with nothing in it that is written as %."""


@dataclass(frozen=True)
class Target:
    """What a request is for."""

    model: str
    version: str

    @property
    def route(self) -> str:
        """What the application calls its route."""
        return open_inference.INFER_VERSION_PATH if self.version else open_inference.INFER_PATH


class Exchange:
    """One request and its answer. To uvicorn's protocol it looks like one that the application works on.

    keep_alive: whether the connection stays afterwards; let_in: whether it was not refused at its headers.
    """

    message_event = asyncio.Event()
    """What uvicorn sets when the connection ends; no task waits for it here, so all share one."""

    def __init__(self, method: str, path: str, identity: str, keep_alive: bool, target: Target | None) -> None:
        self.method, self.path, self.identity, self.keep_alive, self.target = method, path, identity, keep_alive, target
        self._began = time.perf_counter()
        self.header_length: str | None = None
        self.body = bytearray()
        self.let_in = self.read = self.answered = False
        self.request: InferenceRequest | None = None
        self.future: Future[Inference] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.response_complete = self.disconnected = False

    @property
    def seconds(self) -> float:
        """Host time since its headers were read."""
        return time.perf_counter() - self._began

    def end(self) -> None:
        """Nothing is waited for any more.

        The future knows the exchange, through what it calls when the answer is there: let go of, neither has to wait
        for the garbage collector.
        """
        self.answered = True
        if self.timer is not None:
            self.timer.cancel()
        if self.future is not None:
            self.future.cancel()
            self.future = None


class Direct:
    """Answers of a service without its application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.seconds = service.home.box.limits.request_seconds

    def target(self, method: str, url: str) -> Target | None:
        """What a request is for, if it is one of those that can be answered here."""
        found = INFER.match(url) if method == "POST" and self._service.tensors is not None else None
        return None if found is None else Target(found["model"], found["version"] or "")

    def ask(self, exchange: Exchange, arrived: Callable[[], None]) -> None:
        """Start on a request that was read; the running event loop hears of its answer. Raises Refusal."""
        assert exchange.target is not None
        self._service.require_model(exchange.target.model, exchange.target.version)
        question: Question = open_inference.read(bytes(exchange.body), exchange.header_length)
        exchange.request = question.request
        exchange.future = self._service.submit(
            question.arrays, question.parameters, arrived, profile=question.profile, seconds=question.seconds
        )

    def answer(self, exchange: Exchange) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of an answer that has arrived. Raises what it failed with."""
        assert exchange.future is not None and exchange.request is not None
        fields, content = open_inference.written(self._service, exchange.request, exchange.future.result())
        return [(name.lower().encode(), value.encode()) for name, value in fields.items()], content
