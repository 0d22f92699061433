"""What the HTTP routes share: bodies, errors, and clients that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from modelbox.refusal import Reason, Refusal

Result = TypeVar("Result")
Model = TypeVar("Model", bound=BaseModel)

SCHEMAS = "#/components/schemas/"
SIMULATED_HEADER = "X-Simulated-RDU-Nanoseconds"
"""Simulated time of the RDU; the time that an answer takes here is another thing."""


class Gone(Exception):
    """The client went away before its answer."""


async def until_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`; where the client goes away first, the work is cancelled. Raises Gone."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        watch.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def parsed(body: bytes | memoryview) -> Any:
    """JSON. Raises Refusal for what is not."""
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise Refusal(Reason.INVALID, f"the body is not JSON: {error}") from error


def validated(model: type[Model], body: Any) -> Model:
    """A body as a model. Raises Refusal that names the first field that is wrong."""
    if not isinstance(body, dict):
        raise Refusal(Reason.INVALID, "the body is not a JSON object")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("function-"))
        unknown = fault["type"] == "extra_forbidden"
        message = f"unrecognised argument: {place}" if unknown else f"{place or 'the body'}: {fault['msg']}"
        raise Refusal(Reason.INVALID, message, parameter=place or None) from error
    except RecursionError as error:
        raise Refusal(Reason.INVALID, "the body is nested too deeply") from error


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """For the OpenAPI page: the body that a route reads itself."""
    schema = {"$ref": f"{SCHEMAS}{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def answers(
    error: type[BaseModel], codes: Sequence[int] = (400, 401, 404, 413, 429, 500, 503, 504)
) -> dict[int | str, Any]:
    """For the OpenAPI page: the refusals of a route."""
    return {code: {"model": error} for code in codes}


def fields_of(refusal: Refusal) -> dict[str, str]:
    """Headers of a refusal."""
    found = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.reason is Reason.UNAUTHENTICATED:
        found["WWW-Authenticate"] = "Bearer"
    return found
