"""Positions among the stages of a graph that look alike, such as the layers of a transformer: searched once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Alike(Generic[T]):
    """What was worked out at positions, to be found again at those that look alike as far as it looked."""

    def __init__(self, look: Callable[[int, int], tuple[object, ...]]) -> None:
        self._look = look
        self._known: dict[tuple[object, ...], dict[int, dict[tuple[object, ...], tuple[T, int]]]] = {}

    def find(self, position: int) -> tuple[T, int] | None:
        """What is known of a position that looks like this one, and which that is."""
        for reach, known in self._known.get(self._look(position, 1), {}).items():
            found = known.get(self._look(position, reach))
            if found is not None:
                return found
        return None

    def keep(self, position: int, reach: int, what: T) -> None:
        """Remember what was worked out at a position by looking at so many stages."""
        known = self._known.setdefault(self._look(position, 1), {}).setdefault(reach, {})
        known[self._look(position, reach)] = what, position
