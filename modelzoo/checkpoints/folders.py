"""Writing a folder so that whoever looks sees the old one or the whole new one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ir.errors import Problem, UsageError


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to fill; it takes the place of `path` when the block ends without an error.

    Raises UsageError where the file system refuses.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    old = new.with_suffix(".old")
    try:
        new.mkdir(parents=True)
        yield new
        for file in filter(Path.is_file, new.rglob("*")):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if path.exists():
            path.rename(old)
        new.rename(path)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "check the folder and its permissions"
        raise UsageError(Problem(f"{path} cannot be written: {reason}", hint=hint)) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
