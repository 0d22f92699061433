"""The process that serves a box: check, load, listen, and end in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import uvicorn
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ir.errors import Problem, UsageError
from modelbox.box_file import Home
from modelbox.jobs.box_calls import BoxCalls
from modelbox.jobs.store import Jobs
from modelbox.legality import require_legal
from modelbox.protocol import box_pb2, box_pb2_grpc, open_inference_pb2, open_inference_pb2_grpc
from modelbox.service import logs
from modelbox.service.app import create_app
from modelbox.service.door import Door
from modelbox.service.gate import Gate
from modelbox.service.grpc_calls import Calls
from modelbox.service.open_inference_grpc import OpenInference
from modelbox.service.service import Service
from pef.locks import only_writer

log = logging.getLogger("snc.box")

GRACE_SECONDS = 2.0
"""What answers that are written already are given to reach their clients."""
SWITCH_SECONDS = 0.0005
"""How long the thread that answers requests may keep the device's thread waiting. Python's own 5 ms are longer than
many a kernel runs, and under a storm of requests the device would wait that long after every one."""
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none of them sends on one that closes at that moment."""
COLLECTOR_THRESHOLDS = (10_000, 10, 10)
"""Of the three generations. Python's own 700 new objects are those of some twenty requests, most of which are still
being answered when the collector looks at them."""
BOX = box_pb2.DESCRIPTOR.services_by_name["ModelBox"].full_name
OPEN_INFERENCE = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
SERVICES = (BOX, OPEN_INFERENCE)


class _Http(uvicorn.Server):
    """uvicorn, which leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(home: Home) -> None:
    """Serve until SIGTERM or SIGINT. Raises UsageError for a box that is not legal, before anything is loaded."""
    with only_writer(home.state, "serves this box, and keeps its state in", "end it, or copy the box"):
        jobs = Jobs(home)
        jobs.recover()
        compiled = [profile for profile in jobs.profiles() if profile.name not in {p.name for p in home.box.profiles}]
        whole = Home(home.folder, home.box.model_copy(update={"profiles": (*home.box.profiles, *compiled)}))
        require_legal(whole)
        logs.set_up()
        sys.setswitchinterval(SWITCH_SECONDS)
        service = Service(whole)
        _leave_alone_what_is_loaded()
        try:
            asyncio.run(_serve(service, jobs))
        finally:
            service.close()


def _leave_alone_what_is_loaded() -> None:
    """Keep Python's cyclic garbage collector away from modules and model, which live as long as the process.

    Going through them all stops every answer for a tenth of a second, and under load it would happen once a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


async def _serve(service: Service, jobs: Jobs) -> None:
    home = service.home
    listen, security = home.box.listen, home.box.security
    listening = _socket(listen.host, listen.http)
    gate = create_app(service)
    http = _Http(http_config(gate, home))
    calls, health_of = _grpc(service, jobs)
    grpc_port = _listen(calls, home)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    await calls.start()
    serving = asyncio.create_task(http.serve([listening]))
    while not http.started and not serving.done():
        await asyncio.sleep(0.01)
    scheme = "http" if security.tls_certificate is None else "https"
    where = {"box": service.name, "http": f"{scheme}://{listen.host}:{listening.getsockname()[1]}"}
    print(json.dumps({**where, "grpc": f"{listen.host}:{grpc_port}"}), flush=True)
    await asyncio.wait({serving, asyncio.create_task(ending.wait())}, return_when=asyncio.FIRST_COMPLETED)

    service.refuse()
    gate.pace.end()
    for name in ("", *SERVICES):
        await health_of.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
    await jobs.stop()
    if not await service.drained():
        log.warning("requests were given up: they took longer than drain_seconds")
    http.should_exit = True
    await asyncio.gather(serving, calls.stop(GRACE_SECONDS))


def http_config(gate: Gate, home: Home) -> uvicorn.Config:
    """How what is behind the gate is spoken to over HTTP."""
    certificate, key = home.box.security.tls_certificate, home.box.security.tls_key
    return uvicorn.Config(
        gate,
        http=partial(Door, gate),  # type: ignore[arg-type]
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(GRACE_SECONDS),
        ssl_certfile=None if certificate is None else str(home.path(certificate)),
        ssl_keyfile=None if key is None else str(home.path(key)),
    )


def _grpc(service: Service, jobs: Jobs) -> tuple[Any, Any]:
    """The gRPC server with all its services, and its health."""
    limits = service.home.box.limits
    options = [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
    server = aio.server(interceptors=[Calls(service)], options=options)
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(OpenInference(service), server)
    box_pb2_grpc.add_ModelBoxServicer_to_server(BoxCalls(service, jobs), server)
    health_of = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_of, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    for name in ("", *SERVICES):
        asyncio.get_running_loop().create_task(health_of.set(name, health_pb2.HealthCheckResponse.SERVING))
    return server, health_of


def _listen(server: Any, home: Home) -> int:
    """The port of the gRPC server. Raises UsageError where it is taken."""
    listen, security = home.box.listen, home.box.security
    address = f"{listen.host}:{listen.grpc}"
    try:
        if security.tls_certificate is None or security.tls_key is None:
            port = server.add_insecure_port(address)
        else:
            pair = (home.path(security.tls_key).read_bytes(), home.path(security.tls_certificate).read_bytes())
            port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        problem = Problem(f"cannot listen on {address}: {error}", hint="another --grpc-port, or 0 for any")
        raise UsageError(problem) from error
    return int(port)


def _socket(host: str, port: int) -> socket.socket:
    """Raises UsageError where the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; it would delay an answer's body by 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        reason = error.strerror or str(error)
        problem = Problem(f"cannot listen on {host}:{port}: {reason}", hint="another --http-port, or 0 for any")
        raise UsageError(problem) from error
    return listening
