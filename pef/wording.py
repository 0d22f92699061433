"""Words that reports share."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A count and what is counted: `1 section`, `2 sections`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
