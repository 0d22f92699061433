"""The logs of the daemon and of runs, in the original's one format: 2022-09-19T17:45:38 : [INFO][LIB][31335]: text."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

LEVEL = "SF_RNT_LOG_LEVEL"
LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "NOTICE": 25,
    "WARNING": logging.WARNING,
    "ERR": logging.ERROR,
    "CRIT": logging.CRITICAL,
    "ALERT": 60,
    "EMERG": 70,
}
"""From the least severe; a level includes those that are more severe."""
DEFAULT = "NOTICE"
_NAMES = {number: name for name, number in LEVELS.items()}


class _Format(logging.Formatter):
    def __init__(self, part: str) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        level = _NAMES.get(record.levelno, record.levelname)
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{self.formatTime(record, self.datefmt)} : [{level}][{self._part}][{record.process}]: {text}"


def log_level() -> int:
    """The level that the environment asks for; the default where it names none."""
    return LEVELS.get(os.environ.get(LEVEL, DEFAULT).upper(), LEVELS[DEFAULT])


def log_to(logger: logging.Logger, path: Path, part: str, mode: int, level: int) -> None:
    """Append what `logger` says to the file at `path`, which others may read by `mode`.

    Where the file cannot be written, as in a folder of another user, the log goes nowhere: a run does not depend on it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    except OSError:
        handler: logging.Handler = logging.NullHandler()
    else:
        if os.fstat(descriptor).st_uid == os.getuid():
            os.fchmod(descriptor, mode)  # whatever the umask: runs of all users share their log
        handler = logging.StreamHandler(os.fdopen(descriptor, "a", buffering=1, encoding="utf-8"))
    handler.setFormatter(_Format(part))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


def also_to_console(logger: logging.Logger, part: str) -> None:
    """What the daemon says goes to standard error too, where systemd collects it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format(part))
    logger.addHandler(handler)
