"""Requests that find no room are refused before the application, and the connection goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn

from modelbox.box_file import Home
from modelbox.refusal import Reason, Refusal
from modelbox.service import pace
from modelbox.service.app import create_app
from modelbox.service.direct import Exchange
from modelbox.service.door import Door
from modelbox.service.gate import Gate
from modelbox.service.server import http_config
from modelbox.service.service import Service

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [0.5] * 8}]}).encode()
BUSY = Refusal(Reason.BUSY, "7 requests wait already: try again later", retry_after=3.2)


@pytest.fixture(scope="module")
def gate(dense_service: Service) -> Gate:
    return create_app(dense_service)


@pytest.fixture(scope="module")
def port(gate: Gate, dense: Home) -> Iterator[int]:
    """Where the service is spoken to over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(http_config(gate, dense))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def full(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No request finds room."""
    monkeypatch.setattr(gate, "refusal", lambda *request, besides=0: BUSY if request[0] == "POST" else None)
    monkeypatch.setattr(Gate, "is_closed", True)
    yield


class Client:
    """A connection, read answer by answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self.socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)
            time.sleep(0.02)  # so that they arrive apart

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        lines = iter(lambda: self._file.readline().decode("latin-1").strip(), "")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return status, fields, self._file.read(int(fields["content-length"]))

    def leave(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)

    @property
    def ended(self) -> bool:
        return self._file.read(1) == b""


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    client = Client(port)
    yield client
    client.socket.close()


def post(*fields: str, path: str = "/v2/models/dense/infer", length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: box", *fields, *([f"Content-Length: {len(BODY)}"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode()


HEALTH = b"GET /health HTTP/1.1\r\nHost: box\r\n\r\n"


def test_a_refusal_says_when_to_come_back_and_to_whom(client: Client, full: None) -> None:
    client.send(post("X-Request-Id: mine") + BODY)
    status, fields, content = client.answer()
    assert (status, fields["retry-after"], fields["x-request-id"]) == (429, "4", "mine")
    assert json.loads(content) == {"error": BUSY.message}
    client.send(post(path="/v1/completions?a=b") + BODY)
    status, fields, content = client.answer()
    assert status == 429 and len(fields["x-request-id"]) == 32
    assert json.loads(content)["error"]["code"] == "rate_limit_exceeded"


def test_the_connection_goes_on(client: Client, dense_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(dense_service, "has_room", lambda in_flight: False)
        patched.setattr(dense_service, "full", lambda in_flight: BUSY)
        client.send(post(), BODY[:9], BODY[9:])
        assert client.answer()[0] == 429
        client.send(HEALTH)
        assert client.answer()[0] == 200
        chunks = b"5\r\n" + BODY[:5] + b"\r\n%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n"
        client.send(post("Transfer-Encoding: chunked", length=False) + chunks[:20], chunks[20:])
        assert client.answer()[0] == 429
    client.send(post() + BODY)
    status, _, content = client.answer()
    assert status == 200 and json.loads(content)["outputs"]


def test_refusals_and_answers_come_in_order(
    client: Client, dense_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three requests in one packet: the door opens after the first, and one that waits for an answer is behind it."""
    rooms, refusals = iter([False]), iter([BUSY])
    monkeypatch.setattr(dense_service, "has_room", lambda in_flight: next(rooms, True))
    monkeypatch.setattr(dense_service, "full", lambda in_flight: next(refusals, None))
    client.send((post() + BODY) + (post() + BODY) + (post() + BODY))
    assert [client.answer()[0] for _ in range(3)] == [429, 200, 200]


def test_who_waits_for_a_word_gets_it(client: Client, full: None) -> None:
    client.send(post("Expect: 100-continue"))
    status, fields, _ = client.answer()
    assert status == 429 and fields["retry-after"] == "4"


def test_who_asks_to_end_is_heard(client: Client, full: None) -> None:
    client.send(post("Connection: close") + BODY)
    status, fields, _ = client.answer()
    assert status == 429 and fields["connection"] == "close" and client.ended


def test_no_more_are_let_in_at_one_moment_than_can_wait(
    port: int, gate: Gate, dense_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all of them come before the first is read; and places are free again afterwards, whoever went away.

    Answers make room while others still arrive, so what is bounded is how many wait at any moment.
    """
    queue = dense_service.home.box.limits.queue
    waiting: list[int] = []
    count = Door._count

    def counted(door: Door, requests: int) -> None:
        count(door, requests)
        if requests > 0:  # what is answered counts for a moment longer, which keeps others out
            waiting.append(dense_service._model.waiting._waiting(gate.in_flight))

    monkeypatch.setattr(Door, "_count", counted)
    for _ in range(2):
        clients = [Client(port) for _ in range(3 * queue)]
        for client in clients:
            client.socket.sendall(post())
        for client in clients[::3]:
            client.socket.close()
        for client in clients:
            if client.socket.fileno() >= 0:
                client.socket.sendall(BODY)
        statuses = [client.answer()[0] for client in clients if client.socket.fileno() >= 0]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) > queue / 4
        assert queue / 4 < max(waiting) <= queue
        for client in clients:
            client.socket.close()


@pytest.fixture
def held(gate: Gate, full: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No refusal is covered, and none is told by itself."""
    while len(gate.pace):  # clients of other tests, who have left
        time.sleep(0.05)
    monkeypatch.setattr(pace, "SHARE", 0.0)
    monkeypatch.setattr(pace, "LONGEST_HOLD_SECONDS", 1e9)
    monkeypatch.setattr(gate.pace, "_idle", lambda: False)
    monkeypatch.setattr(gate.pace, "_covered", 0.0)


def test_a_refusal_that_the_budget_does_not_cover_is_held(client: Client, gate: Gate, held: None) -> None:
    """Until its turn comes, here at the service's end; requests behind it on the connection keep their order."""
    client.send(post("X-Request-Id: first"), BODY, HEALTH)
    while len(gate.pace) == 0:
        time.sleep(0.01)
    client.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.socket.recv(1, socket.MSG_PEEK)
    client.socket.settimeout(20)
    gate.pace._timer._loop.call_soon_threadsafe(gate.pace.release)  # type: ignore[union-attr]
    status, fields, _ = client.answer()
    assert (status, fields["x-request-id"]) == (429, "first") and len(gate.pace) == 0
    assert client.answer()[0] == 200
    client.send(HEALTH)
    assert client.answer()[0] == 200


def test_a_client_that_leaves_is_not_told(client: Client, gate: Gate, held: None) -> None:
    client.send(post() + BODY)
    while len(gate.pace) == 0:
        time.sleep(0.01)
    client.leave()
    while len(gate.pace):
        time.sleep(0.01)


def test_refusals_are_counted(client: Client, dense_service: Service, full: None) -> None:
    def count() -> float:
        found = dense_service.metrics.registry.get_sample_value(
            "box_requests_total", {"protocol": "http", "route": "other", "code": "429"}
        )
        return found or 0.0

    before = count()
    client.send(post() + BODY)
    client.answer()
    assert count() == before + 1


def direct(client: Client, *fields: str, body: bytes = BODY, path: str = "/v2/models/dense/infer") -> tuple[int, Any]:
    head = [f"POST {path} HTTP/1.1", "Host: box", *fields, f"Content-Length: {len(body)}", "", ""]
    client.send("\r\n".join(head).encode() + body)
    status, given, content = client.answer()
    told = {k: v for k, v in given.items() if k not in ("date", "server", "x-request-id")}
    return status, (told, content if told["content-type"] != "application/json" else json.loads(content))


HEAD = json.dumps(
    {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 8], "parameters": {"binary_data_size": 32}}]}
)
CASES = {
    "answer": {},
    "version": {"path": "/v2/models/dense/versions/1/infer"},
    "bytes": {
        "fields": (f"Inference-Header-Content-Length: {len(HEAD)}",),
        "body": HEAD.encode() + np.arange(8, dtype=np.float32).tobytes(),
    },
    "binary output": {"body": BODY[:-1] + b', "parameters": {"binary_data_output": true}}'},
    "no model": {"path": "/v2/models/other/infer"},
    "no version": {"path": "/v2/models/dense/versions/3/infer"},
    "no JSON": {"body": b"{"},
    "not the protocol": {"body": b'{"inputs": 3}'},
    "no output": {"body": BODY[:-1] + b', "outputs": [{"name": "y"}]}'},
    "no parameter": {"body": BODY[:-1] + b', "parameters": {"heat": 1}}'},
    "wrong shape": {"body": BODY.replace(b"[1, 8]", b"[2, 4]")},
    "length of JSON": {"fields": ("Inference-Header-Content-Length: 1x",)},
    "not finite": {"body": BODY.replace(b"0.5", b"NaN")},
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_door_answers_is_what_the_application_answers(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    asked: dict[str, Any] = CASES[case]
    fields = asked.get("fields", ())
    rest = {name: value for name, value in asked.items() if name != "fields"}
    at_the_door = direct(client, *fields, **rest)
    monkeypatch.setattr(gate.direct, "target", lambda method, url: None)
    assert at_the_door == direct(client, *fields, **rest)
    assert (at_the_door[0] == 200) == (case in ("answer", "version", "bytes", "binary output"))


def test_a_request_that_takes_too_long_is_given_up(
    client: Client, gate: Gate, dense_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the device does not notice; what it finds in the end reaches nobody, and the connection goes on."""
    assert dense_service.tensors is not None
    profile = next(iter(dense_service.tensors.profiles.values()))
    run, goes_on = profile.run, threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(gate.direct, "seconds", 0.05)
        patched.setattr(profile, "run", lambda tickets: (goes_on.wait(20), run(tickets))[1])
        client.send(post() + BODY)
        assert client.answer()[0] == 504
        goes_on.set()
    assert direct(client)[0] == 200


def test_a_body_that_grows_too_large_is_refused(client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "too_large", lambda taken: Refusal(Reason.TOO_LARGE, "no") if taken > 9 else None)
    client.send(post("Transfer-Encoding: chunked", length=False) + b"5\r\n01234\r\n", b"5\r\n56789\r\n0\r\n\r\n")
    assert client.answer()[0] == 413
    client.send(HEALTH)
    assert client.answer()[0] == 200


def test_a_fault_is_told_and_logged(
    client: Client, dense_service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert dense_service.tensors is not None
    profile = next(iter(dense_service.tensors.profiles.values()))

    def fails(tickets: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(profile, "run", fails)
    assert direct(client)[0] == 500
    assert "ZeroDivisionError" in caplog.text


def test_requests_leave_no_work_to_the_garbage_collector(client: Client) -> None:
    """An exchange and its future know each other; unless one lets go, the collector has to find them."""
    direct(client)
    gc.collect()
    gc.disable()
    try:
        before = sum(type(found) is Exchange for found in gc.get_objects())
        for _ in range(5):
            assert direct(client)[0] == 200
        after = sum(type(found) is Exchange for found in gc.get_objects())
    finally:
        gc.enable()
    assert after <= before, "the connection keeps its last one, as before"
