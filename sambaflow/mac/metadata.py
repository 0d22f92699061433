"""Metadata for `compile(metadata={X.key: X(...)})`: accepted, and recorded in the PEF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class ConvTilingMetadata:
    """How convolutions of large images would be tiled; the compiler tiles every operator by itself."""

    key: ClassVar[str] = "conv_tiling_metadata"
    original_size: Sequence[int] = ()


@dataclass
class TilingMetadata:
    """The older form of ConvTilingMetadata."""

    key: ClassVar[str] = "tiling_metadata"
    original_size: Sequence[int] = ()
    num_tiles: int = 1
