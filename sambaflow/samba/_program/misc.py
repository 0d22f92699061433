"""Names that programs look up on `samba` itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sambaflow.samba._tensor.overrides import MixedPrecision


@contextmanager
def patched_torch() -> Iterator[None]:
    """Inside, plain torch functions take mixed precisions as the device does."""
    with MixedPrecision():
        yield


def is_internal() -> bool:
    """Whether this is a build for the vendor's own use: it never is."""
    return False
