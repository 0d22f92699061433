"""HTTP on a socket, before the application: what finds no room is refused as soon as its headers are read.

Refusing has to be cheap, because under a storm of requests its cost is taken from the answers. A request that is
refused here makes no task, no ASGI messages, and one write.
"""

from __future__ import annotations

import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelbox.refusal import Refusal
from modelbox.service.gate import HEADER, Gate, identity_of


class Door(HttpToolsProtocol):
    """uvicorn's protocol for one connection, with the gate's refusals before it."""

    def __init__(self, gate: Gate, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._gate = gate
        self._refused = False
        self._open = 0
        """Requests of this connection that were let in and are not answered yet."""

    def on_headers_complete(self) -> None:
        """Refuse the request, or let uvicorn go on with it."""
        began = time.perf_counter()
        refusal = self._refusal()
        if refusal is None:
            self._count(1)
            super().on_headers_complete()
        else:
            self._refused = True
            self._write(refusal, began)
            self._rest()

    def on_body(self, body: bytes) -> None:
        """The body of a refused request is not kept."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A refused request ends here; the connection stays for the next."""
        if not self._refused:
            super().on_message_complete()
            return
        self._refused = False
        if not self.parser.should_keep_alive():
            self.transport.close()
        elif not self.transport.is_closing():
            idle = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(idle, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """An answer is on its way."""
        self._count(-1)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        self._count(-self._open)
        self._gate.pace.forget(self)
        super().connection_lost(exc)

    def _count(self, requests: int) -> None:
        self._open += requests
        self._gate.in_flight += requests

    def _refusal(self) -> Refusal | None:
        """Why the request is refused. One behind another on its connection, or whose client waits for a word before it
        sends the body, is left to the application."""
        behind = self.cycle is not None and not self.cycle.response_complete
        if behind or self.expect_100_continue or not self._gate.is_closed:
            return None
        return self._gate.refusal(self._method, self._path, dict(self.headers))

    def _rest(self) -> None:
        """Read no more until the client's turn comes, where it came back too soon."""
        if not self._gate.pace.covers_one():
            self.flow.pause_reading()
            self._gate.pace.rest(self, self.flow.resume_reading)

    def _write(self, refusal: Refusal, began: float) -> None:
        code, fields, body = self._gate.written(refusal, self._path)
        identity = identity_of(dict(self.headers))
        lines = [b"%s: %s\r\n" % field for field in (*self.server_state.default_headers, *fields)]
        lines.append(b"%s: %s\r\n" % (HEADER, identity.encode()))
        if not self.parser.should_keep_alive():
            lines.append(b"connection: close\r\n")
        self._gate.note(self._method, self._path, "other", code, time.perf_counter() - began, identity)
        self.transport.write(b"".join([STATUS_LINE[code], *lines, b"\r\n", body]))

    @property
    def _method(self) -> str:
        return self.parser.get_method().decode("latin-1")

    @property
    def _path(self) -> str:
        return self.url.partition(b"?")[0].decode("latin-1")
