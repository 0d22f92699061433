"""Words that messages of the node share."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from ir.errors import Problem, UsageError

GRES = "SNC_GRES"


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


def shown_command(command: str, longest: int = 60) -> str:
    """A command line as it was typed: without Python and the folder of the program in front, cut where it is long."""
    first, _, rest = command.partition(" ")
    if Path(first).name.startswith("python") and rest and not rest.startswith("-"):
        first, _, rest = rest.partition(" ")
    typed = f"{Path(first).name} {rest}".rstrip()
    return typed if len(typed) <= longest else f"{typed[: longest - 4]} ..."


def tile_mask(text: str) -> int | None:
    """The mask of tiles in SF_RNT_TILE_AFFINITY, None where it is empty. Raises UsageError for what is no number."""
    try:
        return int(text, 16) if text else None
    except ValueError as error:
        what = f"SF_RNT_TILE_AFFINITY is {text!r}, which is not a mask"
        raise UsageError(Problem(what, hint="give a hexadecimal mask of tiles, such as 0xff")) from error


def gres(text: str) -> dict[str, int]:
    """The counts in `rdu:1` or `rdu_tile:4`, as Slurm's --gres writes them. Raises UsageError."""
    counts: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition(":")
        if name not in ("rdu", "rdu_tile") or not (count or "1").isdecimal() or int(count or "1") < 1:
            raise UsageError(
                Problem(
                    f"{GRES} is {text!r}, which does not count RDUs or tiles",
                    hint="write it, or --gres, like rdu:1 or rdu_tile:4",
                )
            )
        counts[name] = int(count or "1")
    return counts
