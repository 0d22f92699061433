"""The HTTP application: all routes behind one gate, and every refusal in the words of its protocol."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ir.version import VERSION
from modelbox.refusal import Reason, Refusal, refused
from modelbox.service import open_ai, open_inference
from modelbox.service.gate import Gate, Written
from modelbox.service.http import SCHEMAS, Gone, fields_of
from modelbox.service.service import Service

log = logging.getLogger("snc.box")


class Health(BaseModel):
    """Whether the service takes requests."""

    status: str
    model: str


def create_app(service: Service) -> Gate:
    """The application of a service."""
    app = FastAPI(
        title=f"Model Box {service.name}",
        version=VERSION,
        summary=service.home.box.about or "One model as a service.",
        redoc_url=None,
    )
    app.include_router(open_inference.routes(service))
    bodies: tuple[type[BaseModel], ...] = open_inference.BODIES
    if service.text is not None:
        app.include_router(open_ai.routes(service))
        bodies = (*bodies, *open_ai.BODIES)

    @app.get("/health", response_model=Health, responses={503: {"model": Health}}, tags=["operations"])
    async def health(response: Response) -> Health:
        response.status_code = 200 if service.ready else 503
        return Health(status="ready" if service.ready else "ending", model=service.name)

    @app.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(Exception)
    @app.exception_handler(Refusal)
    @app.exception_handler(Gone)
    @app.exception_handler(ClientDisconnect)
    @app.exception_handler(HTTPException)
    @app.exception_handler(RequestValidationError)
    async def failed(request: Request, error: Exception) -> Response:
        found = _as_refusal(error, request.url.path)
        if found.reason is Reason.FAULT and not isinstance(error, Refusal):
            log.error("a request failed", exc_info=error)
        code, body = _written(found, request.url.path)
        if isinstance(error, HTTPException):
            code = error.status_code
        fields = {**fields_of(found), **(getattr(error, "headers", None) or {})}
        return JSONResponse(body, status_code=code, headers=fields)

    _declare(app, bodies)
    return Gate(app, service, _raw)


def _as_refusal(error: Exception, path: str) -> Refusal:
    match error:
        case Gone() | ClientDisconnect():
            return Refusal(Reason.GONE, "the client went away")
        case RequestValidationError():
            return Refusal(Reason.INVALID, "; ".join(str(fault["msg"]) for fault in error.errors()))
        case HTTPException(status_code=404):
            return Refusal(Reason.NOT_FOUND, f"this box has no {path}: /openapi.json lists what it has")
        case HTTPException():
            return Refusal(Reason.INVALID, str(error.detail))
        case _:
            return refused(error)


def _written(refusal: Refusal, path: str) -> tuple[int, dict[str, Any]]:
    """Status and body, as the protocol of the path has them."""
    if path.startswith("/v1/") or path == "/v1":
        return refusal.reason.http, open_ai.error_body(refusal)
    return refusal.reason.http, {"error": refusal.message}


def _raw(refusal: Refusal, path: str) -> Written:
    """The same for the gate, which stands before the application."""
    code, body = _written(refusal, path)
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **fields_of(refusal)}
    return code, [(name.lower().encode(), value.encode()) for name, value in fields.items()], content


def _declare(app: FastAPI, bodies: tuple[type[BaseModel], ...]) -> None:
    """Bodies that routes read themselves are on the OpenAPI page too."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        page = made()
        _, found = models_json_schema([(body, "validation") for body in bodies], ref_template=SCHEMAS + "{model}")
        page.setdefault("components", {}).setdefault("schemas", {}).update(found["$defs"])
        return page

    app.openapi = openapi  # type: ignore[method-assign]
