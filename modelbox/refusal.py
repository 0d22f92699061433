"""Requests that are not answered: why, in the words of every protocol."""

from __future__ import annotations

import math
from enum import Enum

from ir.errors import Problem, SncError


class Reason(Enum):
    """Why a request is refused: status over HTTP, status over gRPC, and the type that OpenAI's clients know."""

    INVALID = (400, "INVALID_ARGUMENT", "invalid_request_error")
    UNAUTHENTICATED = (401, "UNAUTHENTICATED", "authentication_error")
    NOT_FOUND = (404, "NOT_FOUND", "invalid_request_error")
    CONFLICT = (409, "FAILED_PRECONDITION", "invalid_request_error")
    TOO_LARGE = (413, "RESOURCE_EXHAUSTED", "invalid_request_error")
    UNSUPPORTED = (501, "UNIMPLEMENTED", "invalid_request_error")
    GONE = (499, "CANCELLED", "invalid_request_error")
    BUSY = (429, "RESOURCE_EXHAUSTED", "rate_limit_error")
    UNAVAILABLE = (503, "UNAVAILABLE", "service_unavailable_error")
    LATE = (504, "DEADLINE_EXCEEDED", "timeout_error")
    FAULT = (500, "INTERNAL", "internal_server_error")

    @property
    def http(self) -> int:
        """The status over HTTP."""
        return self.value[0]

    @property
    def grpc(self) -> str:
        """The name of the status over gRPC."""
        return self.value[1]

    @property
    def open_ai(self) -> str:
        """The type of the error in OpenAI's error bodies."""
        return self.value[2]


class Refusal(SncError):
    """Cause: a request that cannot be answered, or not now. Fix: as the message says; after `retry_after` seconds."""

    code = "REFUSED"

    def __init__(
        self, reason: Reason, message: str, *, parameter: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(Problem(message))
        self.reason = reason
        self.message = message
        self.parameter = parameter
        self.retry_after = None if retry_after is None else max(1, math.ceil(retry_after))


def refused(error: Exception) -> Refusal:
    """Any error as a refusal: what a user can mend is an invalid request, all else a fault of the service."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, SncError):
        return Refusal(Reason.INVALID, "; ".join(_told(problem) for problem in error.problems))
    return Refusal(Reason.FAULT, "the service failed at this request; its log says more")


def _told(problem: Problem) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
