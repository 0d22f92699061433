"""HTTP on a socket, before the application: what finds no room is refused as soon as its headers are read, and requests
for tensors are answered here.

Refusing has to be cheap, because under a storm of requests its cost is taken from the answers. A request that ends here
makes no task, no ASGI messages, and one write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelbox.refusal import Reason, Refusal, refused
from modelbox.service.direct import Exchange
from modelbox.service.gate import HEADER, Gate, identity_of
from modelbox.service.open_inference import HEADER_LENGTH
from modelbox.service.service import late

log = logging.getLogger("snc.box")

LENGTH_OF_JSON = HEADER_LENGTH.lower().encode()


class Door(HttpToolsProtocol):
    """uvicorn's protocol for one connection, with the gate's refusals and the direct answers before it."""

    def __init__(self, gate: Gate, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._gate = gate
        self._reading: Exchange | None = None
        """The request that is being read, if it ends here."""
        self._answering: Exchange | None = None
        """The request that ends here and is not both read and answered yet. Others on the connection wait behind it."""
        self._open = 0
        """Requests of this connection that were let in and are not answered yet."""

    def on_headers_complete(self) -> None:
        """Refuse the request, take it, or let uvicorn go on with it."""
        self._reading = None
        if self._is_for_application:
            self._let_in()
            return
        headers = dict(self.headers)
        target = self._gate.direct.target(self._method, self.url.decode("latin-1"))
        refusal = None
        if target is not None or self._gate.is_closed:
            refusal = self._gate.refusal(self._method, self._path, headers)
        if target is None and refusal is None:
            self._let_in()
            return
        exchange = Exchange(self._method, self._path, identity_of(headers), self._keeps_alive, target)
        self._reading = self._answering = self.cycle = exchange  # type: ignore[assignment]
        if refusal is None:
            exchange.let_in = True
            exchange.header_length = headers.get(LENGTH_OF_JSON, b"").decode("latin-1") or None
            self._count(1)
        elif self._gate.pace.covers_one():
            self._refuse(exchange, refusal)
        else:
            self._gate.pace.hold(self, partial(self._tell, exchange, refusal))

    def on_body(self, body: bytes) -> None:
        """The body of a refused request is not kept."""
        exchange = self._reading
        if exchange is None:
            super().on_body(body)
        elif exchange.let_in and not exchange.answered:
            exchange.body += body
            if refusal := self._gate.too_large(len(exchange.body)):
                self._refuse(exchange, refusal)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        exchange = self._reading
        if exchange is None:
            super().on_message_complete()
            return
        exchange.read = True
        if exchange.answered:
            self._end(exchange)
        elif exchange.let_in:
            self._ask(exchange)

    def on_response_complete(self) -> None:
        """An answer of the application is on its way."""
        self._count(-1)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        self._count(-self._open)
        self._gate.pace.forget(self)
        if self._answering is not None and not self._answering.answered:
            self._answering.end()
            if self._answering.let_in:
                self._note(self._answering, Reason.GONE.http)
        super().connection_lost(exc)

    @property
    def _is_for_application(self) -> bool:
        """Whether a request is left to the application, whatever it asks: one behind another on its connection, or
        whose client waits for a word before it sends the body."""
        behind = self.cycle is not None and not self.cycle.response_complete
        return behind or self.expect_100_continue or self.parser.should_upgrade()

    @property
    def _keeps_alive(self) -> bool:
        return self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()

    def _let_in(self) -> None:
        self._count(1)
        super().on_headers_complete()

    def _count(self, requests: int) -> None:
        self._open += requests
        self._gate.in_flight += requests

    def _ask(self, exchange: Exchange) -> None:
        try:
            self._gate.direct.ask(exchange, partial(self._arrived, exchange))
        except Exception as error:
            self._fail(exchange, error)
        else:
            exchange.timer = self.loop.call_later(self._gate.direct.seconds, self._give_up, exchange)

    def _give_up(self, exchange: Exchange) -> None:
        self._refuse(exchange, late())

    def _arrived(self, exchange: Exchange) -> None:
        """The answer is here; somebody still waits for it, or not."""
        if exchange.answered:
            return
        try:
            fields, content = self._gate.direct.answer(exchange)
        except Exception as error:
            self._fail(exchange, error)
        else:
            self._write(exchange, 200, fields, content)

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        refusal = refused(error)
        if refusal is not error and refusal.reason is Reason.FAULT:
            log.error("a request failed", exc_info=error)
        self._refuse(exchange, refusal)

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        self._write(exchange, *self._gate.written(refusal, exchange.path))

    def _tell(self, exchange: Exchange, refusal: Refusal) -> Callable[[], None]:
        """Refuse a request that was held; nothing is read until the returned function is called."""
        self._refuse(exchange, refusal)
        if exchange.read and not self.pipeline:
            self.flow.pause_reading()
        return self.flow.resume_reading

    def _write(self, exchange: Exchange, code: int, fields: list[tuple[bytes, bytes]], content: bytes) -> None:
        """Send an answer, which is counted before anybody can know of it."""
        exchange.end()
        self._note(exchange, code)
        lines = [b"%s: %s\r\n" % field for field in (*self.server_state.default_headers, *fields)]
        lines.append(b"%s: %s\r\n" % (HEADER, exchange.identity.encode()))
        if not exchange.keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join([STATUS_LINE[code], *lines, b"\r\n", content]))
        if exchange.let_in:
            self._count(-1)
        if exchange.read:
            self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        """The request was read and answered: the connection closes, or goes on with the next."""
        self._answering = None
        exchange.response_complete = True
        if not exchange.keep_alive:
            self.transport.close()
        super().on_response_complete()

    def _note(self, exchange: Exchange, code: int) -> None:
        route = exchange.target.route if exchange.let_in and exchange.target is not None else "other"
        self._gate.note(exchange.method, exchange.path, route, code, exchange.seconds, exchange.identity)

    @property
    def _method(self) -> str:
        return self.parser.get_method().decode("latin-1")

    @property
    def _path(self) -> str:
        return self.url.partition(b"?")[0].decode("latin-1")
