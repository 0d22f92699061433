"""Convolution of every channel by itself: a sum of shifted images, one per position of the window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ir.op import Array
from ir.ops.phases import Phases, cut
from ir.ops.window import Windows
from ir.types import DType, TensorType


@dataclass(frozen=True)
class Depthwise:
    """The sizes of such a convolution: images [images, channels, h, w], weight [channels, 1, kh, kw]."""

    images: int
    channels: int
    windows: Windows

    @cached_property
    def phases(self) -> Phases:
        """How images are laid out."""
        return Phases(self.windows)

    def scratch(self) -> tuple[TensorType, TensorType, TensorType]:
        """A block's phases, its output pixels, and one product."""
        images, channels = self.phases.block(self.images, self.channels)
        line = (channels, images * self.phases.pixels)
        shapes = ((self.phases.count, *line), line, line)
        phases, outputs, product = (TensorType(DType.F32, shape) for shape in shapes)
        return phases, outputs, product

    def convolve(self, x: Array, w: Array, y: Array, phases: Array, outputs: Array, product: Array) -> None:
        """Images x convolved with w into y."""
        for images, channels in self._blocks():
            lines, total, term = self._cut(x[images, channels], phases, outputs, product)
            self.phases.spread(x[images, channels], lines)
            weights = w[channels].reshape(len(total), -1)
            for number, (phase, ahead) in enumerate(self.phases.positions):
                ahead_lines, made = lines[phase, :, ahead:], term if number else total
                count = ahead_lines.shape[1]
                np.multiply(ahead_lines, weights[:, number, None], out=made[:, :count])
                if number:
                    np.add(total[:, :count], term[:, :count], out=total[:, :count])
            np.copyto(y[images, channels], self.phases.true(total))

    def input_gradient(self, dy: Array, w: Array, dx: Array, phases: Array, outputs: Array, product: Array) -> None:
        """The gradient dx of the images, from dy of the result."""
        for images, channels in self._blocks():
            lines, given, term = self._cut(dx[images, channels], phases, outputs, product)
            self.phases.lay_out(dy[images, channels], given)
            lines.fill(0)
            weights = w[channels].reshape(len(given), -1)
            for number, (phase, ahead) in enumerate(self.phases.positions):
                ahead_lines = lines[phase, :, ahead:]
                count = ahead_lines.shape[1]
                np.multiply(given[:, :count], weights[:, number, None], out=term[:, :count])
                np.add(ahead_lines, term[:, :count], out=ahead_lines)
            self.phases.collect(lines, dx[images, channels])

    def weight_gradient(self, dy: Array, x: Array, dw: Array, phases: Array, outputs: Array, product: Array) -> None:
        """The gradient dw of the weight, from dy of the result."""
        dw.fill(0)
        for images, channels in self._blocks():
            lines, given, _ = self._cut(x[images, channels], phases, outputs, product)
            self.phases.spread(x[images, channels], lines)
            self.phases.lay_out(dy[images, channels], given)
            total = dw[channels].reshape(len(given), -1)
            share = cut(product, len(given))
            for number, (phase, ahead) in enumerate(self.phases.positions):
                ahead_lines = lines[phase, :, None, ahead:]
                np.matmul(ahead_lines, given[:, : ahead_lines.shape[2], None], out=share[:, None, None])
                np.add(total[:, number], share, out=total[:, number])

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """The images and the channels of each block."""
        images, channels = self.phases.block(self.images, self.channels)
        for channel in range(0, self.channels, channels):
            for image in range(0, self.images, images):
                yield slice(image, image + images), slice(channel, channel + channels)

    def _cut(self, x: Array, phases: Array, outputs: Array, product: Array) -> tuple[Array, Array, Array]:
        """The scratch arrays for a block of images x."""
        line = (x.shape[1], len(x) * self.phases.pixels)
        return cut(phases, self.phases.count, *line), cut(outputs, *line), cut(product, *line)
