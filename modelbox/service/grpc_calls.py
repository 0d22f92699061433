"""What all gRPC calls share: ids, the key, statuses, metrics and logs."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from modelbox.refusal import Reason, Refusal, refused
from modelbox.service import logs
from modelbox.service.gate import is_key, request_id
from modelbox.service.service import Service

log = logging.getLogger("snc.box")

OPEN = "/grpc.health.v1.Health/"
"""What probes call, without a key."""
ROOM = ("/inference.GRPCInferenceService/ModelInfer", "/snc.box.v1.ModelBox/Infer")
"""What waits in the queue."""
ID, RETRY = "x-request-id", "retry-after"


class Calls(aio.ServerInterceptor):  # type: ignore[misc]
    """Every call passes here: an id, the key, a status for every error, and what is noted of it afterwards."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The handler of a call, wrapped. One that finds no room is refused before it is read."""
        route = details.method
        metadata = dict(details.invocation_metadata or ())
        if route in ROOM and (refusal := self._service.full()) is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(_refusing(refusal), route, metadata))
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._stream(handler.stream_stream, route, metadata),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(_decoding(handler.unary_stream, handler.request_deserializer), route, metadata),
                None,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(_decoding(handler.unary_unary, handler.request_deserializer), route, metadata),
            None,
            handler.response_serializer,
        )

    def _unary(self, call: Callable[..., Any], route: str, metadata: dict[str, Any]) -> Callable[..., Awaitable[Any]]:
        async def answered(request: Any, context: Any) -> Any:
            async with _Noted(self, route, metadata, context):
                return await call(request, context)

        return answered

    def _stream(self, call: Callable[..., Any], route: str, metadata: dict[str, Any]) -> Callable[..., Any]:
        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            async with _Noted(self, route, metadata, context):
                async for item in call(request, context):
                    yield item

        return streamed

    def admit(self, route: str, metadata: dict[str, Any]) -> None:
        """Raises Refusal for a call without the key."""
        digests = self._service.home.box.security.api_key_sha256
        if not route.startswith(OPEN) and not is_key(str(metadata.get("authorization", "")), digests):
            raise Refusal(Reason.UNAUTHENTICATED, "give the box's API key: authorization: Bearer KEY")

    def note(self, route: str, status: str, seconds: float, identity: str) -> None:
        """Count it and log it."""
        self._service.metrics.answered("grpc", route, status, seconds)
        logs.request(
            often=status == Reason.BUSY.grpc,
            protocol="grpc",
            path=route,
            status=status,
            host_seconds=round(seconds, 6),
            request_id=identity,
        )


def _refusing(refusal: Refusal) -> Callable[..., Any]:
    """A call that is refused whatever it is given."""

    async def refused(content: bytes, context: Any) -> Any:
        raise refusal

    return refused


def _decoding(call: Callable[..., Any], decode: Callable[[bytes], Any]) -> Callable[..., Any]:
    """A call that is given bytes. Those that are no message are the client's fault, which gRPC itself does not say."""

    def decoded(content: bytes, context: Any) -> Any:
        try:
            request = decode(content)
        except DecodeError as error:
            raise Refusal(Reason.INVALID, "the bytes are not a message that this call takes") from error
        return call(request, context)

    return decoded


class _Noted:
    """The block around one call."""

    def __init__(self, calls: Calls, route: str, metadata: dict[str, Any], context: Any) -> None:
        self._calls, self._route, self._metadata, self._context = calls, route, metadata, context
        self._id = request_id(str(metadata.get(ID, "")))
        self._began = time.perf_counter()

    async def __aenter__(self) -> None:
        self._context.set_trailing_metadata(((ID, self._id),))
        try:
            self._calls.admit(self._route, self._metadata)
        except Refusal as error:
            await self._refuse(error)

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            self._note("OK")
        elif isinstance(error, aio.AbortError):
            self._note(str(self._context.code()))
        elif not isinstance(error, Exception):
            self._note("CANCELLED")
        else:
            if not isinstance(error, Refusal):
                log.info("a call failed", exc_info=error)
            await self._refuse(refused(error))

    async def _refuse(self, refusal: Refusal) -> None:
        self._note(refusal.reason.grpc)
        trailing = [(ID, self._id)]
        if refusal.retry_after is not None:
            trailing.append((RETRY, str(refusal.retry_after)))
        code = getattr(grpc.StatusCode, refusal.reason.grpc)
        await self._context.abort(code, refusal.message, tuple(trailing))

    def _note(self, status: str) -> None:
        self._calls.note(self._route, status, time.perf_counter() - self._began, self._id)
