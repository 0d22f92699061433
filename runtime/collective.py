"""How a replica of a data parallel run meets the others, and the one operation that they do together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ir.op import Array


class Collective(Protocol):
    """The replicas of a run as one of them sees them."""

    @property
    def rank(self) -> int:
        """The number of this replica, from 0."""

    @property
    def size(self) -> int:
        """How many replicas there are."""

    def all_reduce(self, array: Array) -> None:
        """Replace a contiguous float32 array by its sum over all replicas, which must be the same bits on each.

        All replicas call this equally often, with arrays of equal sizes in equal order. Raises ReplicaError where
        another replica stopped.
        """


@dataclass(frozen=True)
class Alone:
    """A single replica."""

    rank: int = 0
    size: int = 1

    def all_reduce(self, array: Array) -> None:
        """The sum over one replica is there already."""


ALONE = Alone()


class Exchange:
    """Does the averaging of all_reduce operators; `collective` are the replicas of the present run."""

    def __init__(self) -> None:
        self.collective: Collective = ALONE

    def mean(self, x: Array, out: Array) -> None:
        """The mean of x over the replicas, summed in float32; `out` is contiguous."""
        np.copyto(out, x)
        if self.collective.size > 1:
            self.collective.all_reduce(out)
            np.divide(out, np.float32(self.collective.size), out=out)
