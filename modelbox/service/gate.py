"""What every HTTP request passes: an id, the key, the bound on its size; and what is noted of it afterwards."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from modelbox.refusal import Reason, Refusal
from modelbox.service import logs
from modelbox.service.direct import Direct
from modelbox.service.pace import Pace
from modelbox.service.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Written = tuple[int, list[tuple[bytes, bytes]], bytes]
"""A refusal on its way: status, headers, body."""

OPEN = ("/health", "/v2/health/live", "/v2/health/ready", "/metrics")
"""What probes and Prometheus ask for, without a key."""
HEADER = b"x-request-id"
GIVEN = re.compile(r"^[!-~]{1,128}$")


def request_id(given: str) -> str:
    """The client's own id where it is printable and short, else a new one."""
    return given if GIVEN.match(given) else uuid.uuid4().hex


def identity_of(headers: Mapping[bytes, bytes]) -> str:
    """The id of a request with these headers, whose names are in lower case."""
    return request_id(headers.get(HEADER, b"").decode("latin-1"))


def is_key(authorization: str, digests: tuple[str, ...]) -> bool:
    """Whether an Authorization header has one of the keys; always, where there are none."""
    if not digests:
        return True
    scheme, _, key = authorization.partition(" ")
    digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
    return scheme.lower() == "bearer" and any(hmac.compare_digest(digest, known) for known in digests)


class Gate:
    """ASGI middleware. `written` is a refusal the way the path's protocol writes it: status, headers, body."""

    def __init__(self, app: App, service: Service, written: Callable[[Refusal, str], Written]) -> None:
        self._app, self._service, self.written = app, service, written
        self.in_flight = 0
        """Requests that were let in and are not answered yet."""
        self.direct = Direct(service)
        self.pace = Pace(lambda: self.in_flight == 0 and service.idle)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        identity = identity_of(headers)
        scope["request_id"] = identity
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, identity.encode())]
            await send(message)

        try:
            refusal = self.refusal(scope["method"], scope["path"], headers, besides=1)
            if refusal is not None:
                raise refusal
            await self._app(scope, self._bounded(receive), answer)
        except Refusal as error:
            code, fields, body = self.written(error, scope["path"])
            await answer({"type": "http.response.start", "status": code, "headers": fields})
            await answer({"type": "http.response.body", "body": body})
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.note(scope["method"], scope["path"], route, status, time.perf_counter() - began, identity)

    @property
    def is_closed(self) -> bool:
        """Whether no request to the model can be taken at this moment."""
        return not self._service.has_room(self.in_flight)

    def refusal(self, method: str, path: str, headers: Mapping[bytes, bytes], besides: int = 0) -> Refusal | None:
        """Why a request is refused before its body is read: its sender may not call, it is too large, or there is no
        room for it. besides: how many of those in flight it is itself."""
        box = self._service.home.box
        if path not in OPEN and not is_key(
            headers.get(b"authorization", b"").decode("latin-1"), box.security.api_key_sha256
        ):
            return Refusal(Reason.UNAUTHENTICATED, "give the box's API key: Authorization: Bearer KEY")
        size = headers.get(b"content-length", b"0")
        if size.isdigit() and int(size) > box.limits.body_bytes:
            return Refusal(Reason.TOO_LARGE, f"the body has {int(size)} bytes: at most {box.limits.body_bytes}")
        return self._service.full(self.in_flight - besides) if method == "POST" else None

    def too_large(self, taken: int) -> Refusal | None:
        """The same, for a body of which so many bytes came and which did not say how long it is."""
        most = self._service.home.box.limits.body_bytes
        return Refusal(Reason.TOO_LARGE, f"the body has more than {most} bytes") if taken > most else None

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if refusal := self.too_large(taken):
                raise refusal
            return message

        return bounded

    def note(self, method: str, path: str, route: str, status: int, seconds: float, identity: str) -> None:
        """Count a request, and log it."""
        self._service.metrics.answered("http", route, str(status), seconds)
        logs.request(
            often=status == Reason.BUSY.http,
            protocol="http",
            method=method,
            path=path[:200],
            status=status,
            host_seconds=round(seconds, 6),
            request_id=identity,
        )
