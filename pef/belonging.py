"""A PEF and the files that were written with it: the PEF holds their hashes, so that no others pass for them."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from ir.errors import PefError, Problem
from pef import pef_pb2 as pb

WEIGHTS = "initial weights"
REFERENCE = "reference outputs"


def seal(pef: pb.Pef, weights_sha256: bytes, reference_sha256: bytes) -> None:
    """Note in `pef` the files that are written with it, and how many sections store each symbol."""
    pef.header.weights_sha256 = weights_sha256
    pef.header.reference_sha256 = reference_sha256
    for symbol, count in zip(pef.symbols, count_stores(pef)):
        symbol.stores = count


def count_stores(pef: pb.Pef) -> list[int]:
    """For each symbol, how many sections store it."""
    stores: Counter[int] = Counter()
    for section in pef.sections:
        phases = pef.configurations[section.configuration].phases
        slots = {stream.slot for phase in phases for stream in phase.streams if stream.store}
        stores.update({section.bindings[slot] for slot in slots})
    return [stores[number] for number in range(len(pef.symbols))]


def require_own(pef: pb.Pef, what: str, path: Path, content: bytes | memoryview) -> None:
    """Raise PefError where the file at `path` is not the one that was written with `pef`.

    PEFs of earlier toolchains hold no hashes: with them any file passes.
    """
    expected = pef.header.weights_sha256 if what == WEIGHTS else pef.header.reference_sha256
    if not expected or hashlib.sha256(content).digest() == expected:
        return
    option = "--weights" if what == WEIGHTS else "--reference"
    raise PefError(
        Problem(
            f"{path} does not hold the {what} that were written with the PEF {pef.header.name!r}: "
            "it was changed, or comes from another compile",
            hint=f"compile the model again, or name the file with {option} if it is meant",
        )
    )
