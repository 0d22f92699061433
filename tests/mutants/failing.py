"""Makes the n-th file operation below a folder fail, or kills the process there.

Operations are what Python's audit events name (open, mkdir, rename, remove, rmdir, lock), and the writes, flushes to
the disk and closings that they do not name.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock", "os.listdir", "os.scandir"}


@dataclass
class Operations:
    """Counts the operations on files below `folder`; the one with number `doomed` does not happen."""

    folder: Path
    doomed: int
    fail: Callable[[], None]
    seen: list[str] = field(default_factory=list)
    is_watching: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether the doomed operation was come to."""
        return len(self.seen) > self.doomed

    def happen(self, what: str) -> None:
        """One operation."""
        self.seen.append(what)
        if len(self.seen) - 1 == self.doomed:
            self.fail()


_current: list[Operations] = []
_is_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _current or event not in EVENTS or not _current[0].is_watching:
        return
    operations = _current[0]
    if event == "fcntl.flock" or str(arguments[0]).startswith(str(operations.folder)):
        operations.happen(event)


class _Watched(io.BufferedWriter):
    """A file whose writes are operations."""

    def write(self, content: Any) -> int:
        if _current:
            _current[0].happen("write")
        return super().write(content)

    def flush(self) -> None:
        if _current and not self.closed:
            _current[0].happen("flush")
        super().flush()


@contextmanager
def failing(folder: Path, doomed: int, patch: pytest.MonkeyPatch, fail: Callable[[], None]) -> Iterator[Operations]:
    """Let the operation with number `doomed` fail in the block."""
    global _is_installed
    if not _is_installed:
        sys.addaudithook(_hook)
        _is_installed = True
    operations = Operations(folder, doomed, fail)
    fsync, open_ = os.fsync, Path.open

    def watched_fsync(descriptor: int) -> None:
        operations.happen("fsync")
        fsync(descriptor)

    def watched_open(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode not in ("wb", "xb") or folder not in path.parents:
            return open_(path, mode, *arguments, **named)
        return _Watched(io.FileIO(path, mode))

    with patch.context() as patched:
        patched.setattr(os, "fsync", watched_fsync)
        patched.setattr(Path, "open", watched_open)
        _current.append(operations)
        operations.is_watching = True
        try:
            yield operations
        finally:
            operations.is_watching = False
            _current.clear()


def no_space() -> None:
    """The disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die() -> None:
    """The process is gone at once, as by kill -9."""
    os._exit(9)


def in_another_process(work: Callable[[], object]) -> int:
    """The exit status of a copy of this process that does `work`."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
