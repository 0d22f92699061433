"""Words that reports share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def counted(count: int, noun: str) -> str:
    """A count and what is counted: `1 section`, `2 sections`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(us: float) -> str:
    """A time in the unit that suits it: `480 ns`, `81.3 us`, `12.5 ms`, `1.25 s`."""
    if us < 0.9995:
        return f"{us * 1e3:,.0f} ns"
    return f"{us:,.1f} us" if us < 1e4 else f"{us / 1e3:,.1f} ms" if us < 1e7 else f"{us / 1e6:,.2f} s"


def size(count: float) -> str:
    """Bytes in the unit that suits them: `24 B`, `512 KiB`, `21.93 MiB`, `1 TiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while count >= 1024 and power < len(units) - 1:
        count /= 1024
        power += 1
    return f"{count:,.4g} {units[power]}" if count < 1000 else f"{count:,.0f} {units[power]}"


def loop_counts(counts: Iterable[int]) -> str:
    """The iterations of nested loops, outer to inner: `32x16`; `1` where there is none."""
    return "x".join(map(str, counts)) or "1"


def listed(names: Sequence[str], shown: int = 8) -> str:
    """Names one after another; of many, the first few and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


MOST_COMPARED = 1000
"""Names among which the closest to a wrong one is looked for: comparing them takes time."""


def closest(name: str, known: Iterable[str]) -> str:
    """What to try instead of a name that nobody has."""
    import difflib

    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, names, n=1) if len(names) <= MOST_COMPARED else []
    return f"did you mean {near[0]!r}?" if near else f"there is {listed(names)}"
