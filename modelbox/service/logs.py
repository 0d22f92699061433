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


def request(**fields: Any) -> None:
    """A request was answered or refused."""
    access.info("request", extra={"fields": fields})
