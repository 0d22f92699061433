"""Logs as lines of JSON on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

access = logging.getLogger("snc.box.access")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(level: int = logging.INFO) -> None:
    """Send everything that is logged there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("snc").setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class _Seldom:
    """At most a line in so many seconds; each says how many were left out before it."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until, self._left_out = seconds, 0.0, 0

    def line(self) -> dict[str, int] | None:
        """What a line says more, or None where it is left out."""
        now = time.monotonic()
        if now < self._until:
            self._left_out += 1
            return None
        more = {"left_out_before": self._left_out} if self._left_out else {}
        self._until, self._left_out = now + self._seconds, 0
        return more


_often = _Seldom(1.0)


def request(often: bool = False, **fields: Any) -> None:
    """A request was answered or refused. often: of such ones a line a second is enough."""
    more = _often.line() if often else {}
    if more is not None:
        access.info("request", extra={"fields": fields | more})
