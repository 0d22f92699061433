"""Writing files so that whoever looks sees the old file or the whole new one, whatever happens in between.

A file is written beside its place under a temporary name, brought to the disk, and only then renamed. The writer holds
a lock on the temporary file; one that nobody holds was left by a run that was killed, and the next writer in that
folder removes it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ir.errors import Problem, UsageError
from pef.locks import is_abandoned, try_lock

TEMPORARY_PREFIX = ".snc-"
TEMPORARY_SUFFIX = ".part"
LONGEST_NAME_BYTES = 200
"""Of a PEF: what is added to it for the files beside it still fits a file system's 255."""
HINT = "check the folder and its permissions"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write; what was written takes the place of `path` when the block ends without an error.

    Folders on the way are made. A symbolic link stays: the file that it leads to is replaced. What is no regular file
    (a device, a pipe) is written in place. Raises UsageError where the file system refuses.
    """
    with readable_refusal(path):
        if _is_written_in_place(path):
            with path.open("wb") as file:
                yield file
            return
        with _renamed_to(Path(os.path.realpath(path))) as file:
            yield file


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as file:
        file.write(content)


def require_writable(path: Path) -> None:
    """Raise UsageError now, before long work, for a file that could not be written after it."""
    with readable_refusal(path):
        folder = path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        reason = ""
        if path.is_dir():
            reason = "it is a folder"
        elif not folder.is_dir():
            reason = f"{folder} is not a folder"
        elif _is_written_in_place(path):
            reason = "" if os.access(path, os.W_OK) else "it may not be written to"
        elif not os.access(folder, os.W_OK | os.X_OK):
            reason = f"{folder} may not be written to"
        elif len(os.fsencode(path.name)) > os.pathconf(folder, "PC_NAME_MAX"):
            reason = "its name is too long"
    if reason:
        raise UsageError(Problem(f"{path} cannot be written: {reason}", hint=HINT))


def require_file_name(name: str) -> str:
    """`name`, if a file and its companions in one folder can be called so. Raises UsageError where they cannot."""
    reason = ""
    if name in ("", ".", "..") or "/" in name or os.sep in name:
        reason = "it is not the name of one file"
    elif not name.isprintable():
        reason = "it has characters that cannot be shown"
    elif len(name.encode()) > LONGEST_NAME_BYTES:
        reason = f"it has {len(name.encode())} bytes, more than {LONGEST_NAME_BYTES}"
    elif not _is_known_here(name):
        reason = f"this system's file names are in {sys.getfilesystemencoding()}"
    if reason:
        raise UsageError(
            Problem(f"{name!r} cannot be the name of a PEF: {reason}", hint="give a --pef-name such as bert")
        )
    return name


def _is_known_here(name: str) -> bool:
    """Whether the encoding of file names on this system has all characters of `name`."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove the temporary files of runs that were killed; those of runs that are alive stay."""
    with suppress(OSError):
        for path in folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
            if is_abandoned(path):
                path.unlink(missing_ok=True)


@contextmanager
def readable_refusal(path: Path, doing: str = "written", hint: str = HINT) -> Iterator[None]:
    """What the file system refuses becomes one UsageError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(Problem(f"{path} cannot be {doing}: {reason}", hint=hint)) from error


def _is_written_in_place(path: Path) -> bool:
    """Whether `path` is something other than a file that can be replaced: a device, a pipe, a descriptor."""
    if os.path.abspath(path).startswith(("/dev/", "/proc/")):
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _renamed_to(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    new, file = temporary(path.parent)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(new, path)
        lasting_names(path.parent)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file that this process holds. Between making and locking it, a sweep may take it away: then another."""
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        file = path.open("xb")
        if try_lock(file.fileno()) and path.exists():
            return path, file
        file.close()


def lasting_names(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(descriptor)
