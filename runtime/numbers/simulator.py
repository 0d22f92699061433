"""What a session asks of an executor of sections, be it the strict or the fast one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from runtime.collective import Collective

Run = Callable[[Collective], None]
"""Executes sections that are laid out; REDUCE sections average over the replicas given."""


class Simulator(Protocol):
    """Executes sections of one PEF on device memory, for their numbers."""

    @property
    def threads(self) -> int:
        """Host threads that compute."""

    def lay_out(self, sections: Sequence[int]) -> Run:
        """Get sections ready to run in this order, again and again."""

    def close(self) -> None:
        """Give the threads back."""
