"""What went wrong with a file that people write, in one line."""

from __future__ import annotations

from typing import Any


def what_went_wrong(error: Any) -> str:
    """Of a file that cannot be read: why. Of YAML: the fault and its line. Of anything else: what it says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
