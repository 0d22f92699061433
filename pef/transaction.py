"""Several files that belong together, written as one: all of them are complete on the disk before the first is renamed.

A process that is killed between two of the renames leaves files of two transactions side by side. The last one to be
renamed therefore holds the hashes of those before it, and whoever reads it compares them (pef/belonging.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pef.files import lasting_names, readable_refusal, sweep, temporary


@contextmanager
def writing_together(paths: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    """Files to write, all in one folder; they take their places, in this order, when the block ends without an error.

    Raises UsageError where the file system refuses. Then the old files still stand; where it refuses one of the
    renames, those before it are of the new ones.
    """
    folder = paths[0].parent
    made: list[Path] = []
    with readable_refusal(folder), ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        files = []
        try:
            for _ in paths:
                name, file = temporary(folder)
                made.append(name)
                files.append(stack.enter_context(file))
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
            for name, path in zip(made, paths):
                os.replace(name, os.path.realpath(path))
            lasting_names(folder)
        finally:
            for name in made:
                with suppress(OSError):
                    name.unlink(missing_ok=True)
