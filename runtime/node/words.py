"""Words that messages of the node share."""

from __future__ import annotations

from collections.abc import Collection, Iterator


def ranges(numbers: Collection[int]) -> Iterator[str]:
    """Whole numbers as ranges: 0-3, 5."""
    ordered = sorted(numbers)
    while ordered:
        count = next((i for i, number in enumerate(ordered) if number != ordered[0] + i), len(ordered))
        yield str(ordered[0]) if count == 1 else f"{ordered[0]}-{ordered[count - 1]}"
        ordered = ordered[count:]


def numbers(listed: Collection[int]) -> str:
    """Whole numbers as people write them: 0-3, 5."""
    return ", ".join(ranges(listed))
