"""Convolution with windows of one pixel that leave pixels out, and its two gradients: those of the pixels it reads.

These are copied side by side; then every pixel is a window, and nothing else is laid out or multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ir.kernels.columns import Columns
from ir.kernels.geometry import Geometry
from ir.kernels.shifted import Shifted
from ir.op import Array
from ir.types import DType, TensorType


@dataclass(frozen=True)
class Subsampled(Geometry):
    """The convolution of the pixels that are read, and what computes it."""

    by: Columns | Shifted

    @property
    def column_bytes(self) -> int:
        """Bytes of the pixels that are read, and of how they are laid out."""
        return 4 * self.images * self.inputs * self.pixels + self.by.column_bytes

    def scratch(self) -> tuple[TensorType, ...]:
        """The pixels that are read, and what their convolution wants."""
        return (self._read, *self.by.scratch())

    def input_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the images."""
        return (self._read, *self.by.input_gradient_scratch())

    def weight_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the weight."""
        by = self.by
        return (self._read, *(by.weight_gradient_scratch() if isinstance(by, Shifted) else by.scratch()))

    def convolve(self, x: Array, w: Array, y: Array, pixels: Array, *scratch: Array) -> None:
        """Images x convolved with w into y."""
        np.copyto(pixels, self._pixels_of(x))
        self.by.convolve(pixels, w, y, *scratch)

    def input_gradient(self, dy: Array, w: Array, dx: Array, pixels: Array, *scratch: Array) -> None:
        """The gradient dx of the images, from dy of the result."""
        self.by.input_gradient(dy, w, pixels, *scratch)
        dx.fill(0)
        np.copyto(self._pixels_of(dx), pixels)

    def weight_gradient(self, dy: Array, x: Array, dw: Array, pixels: Array, *scratch: Array) -> None:
        """The gradient dw of the weight, from dy of the result."""
        np.copyto(pixels, self._pixels_of(x))
        self.by.weight_gradient(dy, pixels, dw, *scratch)

    @property
    def _read(self) -> TensorType:
        return TensorType(DType.F32, (self.images, self.inputs, *self.windows.count))

    def _pixels_of(self, x: Array) -> Array:
        down, across = self.windows.stride
        pixels: Array = x[:, :, ::down, ::across]
        return pixels
