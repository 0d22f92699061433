"""Microbatches: the pieces in which a user wants a batch to stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Microbatches:
    """The pieces of `size` samples in which a batch is to be processed."""

    batch: int
    size: int

    def count(self, divisor: int) -> int | None:
        """An iteration for each piece where an outer loop of this divisor streams the batch, alone or times something;
        else None."""
        return self.batch // self.size if divisor and divisor % self.batch == 0 else None
