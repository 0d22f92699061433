"""The hardware that a session runs on: managed by a node's daemon where there is one, else nobody's.

Looking for a daemon is one look at the file system. Only where its socket is there, the rest of `runtime.node` is
imported and asked for tiles.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pef import pef_pb2 as pb
from runtime.node.places import places


class Hardware(Protocol):
    """The tiles of a session."""

    def running(self, sections: Sequence[int]) -> AbstractContextManager[None]:
        """The block runs these sections. Raises NodeError where the hardware failed before."""

    def checkpointing(self) -> AbstractContextManager[None]:
        """The block reads device memory for a checkpoint."""

    def release(self) -> None:
        """The session needs its tiles no longer."""


class Unmanaged:
    """Hardware that nobody shares and that never fails."""

    _nothing = nullcontext()

    def running(self, sections: Sequence[int]) -> AbstractContextManager[None]:
        """Nothing stands in the way, and nobody asks how long it takes."""
        return self._nothing

    def checkpointing(self) -> AbstractContextManager[None]:
        """Nobody asks how long it takes."""
        return self._nothing

    def release(self) -> None:
        """Nobody waits."""


UNMANAGED = Unmanaged()


def acquire(pef: pb.Pef, name: str) -> Hardware:
    """Tiles for a PEF. Raises NodeError where the node's daemon refuses them."""
    where = places()
    if where is None or not os.path.exists(where.socket):
        return UNMANAGED
    from runtime.node.lease import lease

    return lease(where).take(pef, name)
