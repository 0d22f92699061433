"""The sizes of a convolution, which its kernels in `columns.py`, `shifted.py` and `depthwise.py` share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ir.kernels.window import Windows
from ir.space import Space
from ir.types import TensorType


@dataclass(frozen=True)
class Geometry:
    """Images [images, inputs, h, w], a weight [outputs, inputs / groups, kh, kw], and windows of its extents."""

    images: int
    groups: int
    inputs: int
    outputs: int
    windows: Windows

    @cached_property
    def depth(self) -> int:
        """Rows of the columns of one group: the length of the inner products."""
        return self.inputs // self.groups * math.prod(self.windows.kernel)

    @cached_property
    def pixels(self) -> int:
        """Output pixels of one image: its columns."""
        return math.prod(self.windows.count)

    def space(self, operands: str, result: str, operand_types: tuple[TensorType, ...], out: TensorType) -> Space:
        """The space written in terms of `ci` and `co`, which `groups` divides; a group's channels are never parted.

        Every other group reads other channels, so a tile of one operand's group is no tile of a smaller convolution.
        """
        kh, kw = self.windows.kernel
        text = f"{operands} -> {result}"
        if self.groups == 1:
            text = text.replace("(g! ci)", "ci").replace("(g! co)", "co")
        return Space.parse(text, operand_types, (out,), g=self.groups, kh=kh, kw=kw)
