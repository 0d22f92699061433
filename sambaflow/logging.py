"""The SDK's logger: quiet unless asked; `-v`, `--log-level` and SF_RNT_LOG_LEVEL turn it up."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from typing import Any

_NAMES = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PREFIX = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning Samba", logging.ERROR: "error"}


class SambaLogger:
    """Like a standard logger; `log_limit=n` prints a message at most n times. `prefix` comes before each."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)
        self.prefix = ""
        self._counts: Counter[str] = Counter()

    def _log(self, level: int, message: Any, arguments: tuple[Any, ...], log_limit: int | None) -> None:
        self._counts[str(message)] += 1
        if log_limit is None or self._counts[str(message)] <= log_limit:
            self.logger.log(level, f"{self.prefix}{message}", *arguments)

    def debug(self, message: Any, *arguments: Any, log_limit: int | None = None, **named: Any) -> None:
        """Log for those who look into the SDK."""
        self._log(logging.DEBUG, message, arguments, log_limit)

    def info(self, message: Any, *arguments: Any, log_limit: int | None = None, **named: Any) -> None:
        """Log what is being done."""
        self._log(logging.INFO, message, arguments, log_limit)

    def warning(self, message: Any, *arguments: Any, log_limit: int | None = None, **named: Any) -> None:
        """Log what may be a problem in the program."""
        self._log(logging.WARNING, message, arguments, log_limit)

    def error(self, message: Any, *arguments: Any, log_limit: int | None = None, **named: Any) -> None:
        """Log what went wrong."""
        self._log(logging.ERROR, message, arguments, log_limit)

    def setLevel(self, level: str | int) -> None:
        """Show messages from this level on."""
        self.logger.setLevel(_NAMES.get(level.lower(), logging.WARNING) if isinstance(level, str) else level)

    def raise_level(self, level: str) -> None:
        """Show nothing below this level."""
        self.logger.setLevel(max(self.logger.level, _NAMES[level]))


class _Format(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"[{_PREFIX.get(record.levelno, record.levelname.lower())}] {record.getMessage()}"


samba_logger = SambaLogger("sambaflow")


def _install() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format())
    samba_logger.logger.addHandler(handler)
    samba_logger.logger.propagate = False
    logging.getLogger("snc").addHandler(handler)  # the compiler's warnings look as the SDK's own
    samba_logger.setLevel(os.environ.get("SF_RNT_LOG_LEVEL", "warning"))


def announce(line: str) -> None:
    """Print one of the few lines that every compile prints, unless only errors are asked for."""
    if samba_logger.logger.level <= logging.WARNING:
        print(line, flush=True)


_install()
