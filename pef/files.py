"""Writing files so that whoever looks sees the old file or the whole new one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ir.errors import Problem, UsageError
from ir.op import Array


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write; it takes the place of `path` when the block ends without an error.

    Folders on the way are made. Raises UsageError where the file system refuses.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield new
        with new.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            Problem(f"{path} cannot be written: {reason}", hint="check the folder and its permissions")
        ) from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Raise UsageError now, before long work, for a file that could not be written after it."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    reason = ""
    if path.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"{folder} is not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"{folder} may not be written to"
    if reason:
        hint = "check the folder and its permissions"
        raise UsageError(Problem(f"{path} cannot be written: {reason}", hint=hint))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, atomically."""
    with replacing(path) as new:
        new.write_bytes(content)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays, atomically."""
    import numpy as np

    with replacing(path) as new, new.open("xb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_npz(path: Path, what: str) -> dict[str, Array]:
    """The named arrays of a file; `what` says in an error what the file is for. Raises UsageError."""
    import zipfile

    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise UsageError(Problem(f"{path} holds one unnamed array", hint="write named arrays: numpy.savez"))
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise UsageError(Problem(f"the {what} {path} does not exist", hint="check the path")) from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(
            Problem(f"the {what} {path} cannot be read: {error}", hint="give an .npz file: numpy.savez(path, x=...)")
        ) from error
