"""Words that reports share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def counted(count: int, noun: str) -> str:
    """A count and what is counted: `1 section`, `2 sections`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(us: float) -> str:
    """A time in the unit that suits it: `480 ns`, `81.3 us`, `12.5 ms`, `1.25 s`."""
    if us < 0.9995:
        return f"{us * 1e3:,.0f} ns"
    return f"{us:,.1f} us" if us < 1e4 else f"{us / 1e3:,.1f} ms" if us < 999_950 else f"{us / 1e6:,.2f} s"


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


def spelled(values: Mapping[str, Any]) -> str:
    """What is nested as JSON, in words: `batch_size 16; inputs: x [16, 3, 32, 32], label [16]`. What is empty is left
    out; true is the name alone."""
    return "; ".join(_pair(name, value, ": ") for name, value in values.items() if _says_something(value))


def _pair(name: str, value: Any, between: str = " ") -> str:
    if value is True:
        return name
    if isinstance(value, Mapping):
        within = ", ".join(_pair(key, inner) for key, inner in value.items() if _says_something(inner))
        return f"{name}{between}{within}" if between == ": " else f"{name} ({within})"
    return f"{name} {_plain(value)}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return str(value)


def _says_something(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


MOST_COMPARED = 1000
"""Names among which the closest to a wrong one is looked for: comparing them takes time."""


def closest(name: str, known: Iterable[str]) -> str:
    """What to try instead of a name that nobody has."""
    import difflib

    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, names, n=1) if len(names) <= MOST_COMPARED else []
    if near:
        return f"did you mean {near[0]!r}?"
    return f"use one of {listed(names)}" if len(names) > 1 else f"there is only {listed(names)}"
