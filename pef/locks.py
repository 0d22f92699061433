"""Advisory locks: who is at work on a file or in a folder. The operating system drops them when a process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ir.errors import Problem, UsageError


def try_lock(descriptor: int) -> bool:
    """Take the lock on an open file or folder for as long as it stays open; whether nobody else holds it.

    On a file system without locks (some network ones) nobody is ever seen to hold one.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_abandoned(path: Path) -> bool:
    """Whether it is certain that no process holds the lock on the file at `path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def only_writer(folder: Path, what: str, hint: str) -> Iterator[None]:
    """Make `folder` and hold it for the block; folders made for a block that wrote nothing go again.

    Raises UsageError where another process holds it, which `what` says what it is doing, or where it cannot be made.
    """
    missing = [parent for parent in (folder, *folder.parents) if not os.path.lexists(parent)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = error.strerror or str(error)
        for made in missing:
            with suppress(OSError):
                made.rmdir()
        problem = Problem(f"{folder} cannot be written: {reason}", hint="check the folder and its permissions")
        raise UsageError(problem) from error
    try:
        if not try_lock(descriptor):
            raise UsageError(Problem(f"another process {what} {folder}", hint=hint))
        yield
    finally:
        os.close(descriptor)
        for made in missing:
            with suppress(OSError):
                made.rmdir()
