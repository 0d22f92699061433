"""Convolution of every channel by itself: by compiled loops (`native/depthwise.py`), else as small matrix products.

With an image laid out in residues (`residues.py`), the shifts of its lines along the window's columns are the rows of a
matrix S [kw, pixels] per channel. Its product with the channel's weight [kh, kw] has a row for each row of the window;
shifted by that many rows of pixels, they add up to the result. So kw copies and kh additions of whole lines do for the
kh * kw positions of a window. The images' gradient is the same backwards: shifts along rows, a product with the
transposed weight, sums along columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ir.kernels.layout import cut
from ir.kernels.native import load, owned
from ir.kernels.residues import Residues
from ir.kernels.window import Pair, Windows
from ir.op import Array
from ir.types import DType, TensorType

BLOCK_ELEMENTS = 1 << 19
"""Elements of a block's factors: 2 MiB. Matrix products go through them once, and outweigh their calls."""

LINE_ELEMENTS = 4096
"""Elements that one operation should go over in a line, to outweigh what beginning a line costs."""


LOOP_SLACK = 128
"""Elements behind lines that compiled loops may read and write."""


@dataclass(frozen=True)
class WindowRows:
    """The rows of the window that read rows of one residue: their numbers, and how far ahead of the window each is."""

    residue: int
    rows: list[int]
    ahead: list[int]


@dataclass(frozen=True)
class Depthwise:
    """The sizes of such a convolution: images [images, channels, h, w], weight [channels, 1, kh, kw]."""

    images: int
    channels: int
    windows: Windows

    @cached_property
    def residues(self) -> Residues:
        """How images are laid out."""
        return Residues(self.windows)

    @cached_property
    def columns(self) -> list[Pair]:
        """For each column of the window the column residue that it reads, and how far ahead of the window's number."""
        stride, dilation = self.windows.stride[1], self.windows.dilation[1]
        found = (divmod(column * dilation, stride) for column in range(self.windows.kernel[1]))
        return [(residue, ahead) for ahead, residue in found]

    @cached_property
    def rows(self) -> list[WindowRows]:
        """The rows of the window by the row residue that they read."""
        stride, dilation, width = self.windows.stride[0], self.windows.dilation[0], self.residues.grid[1]
        found = [divmod(row * dilation, stride) for row in range(self.windows.kernel[0])]
        return [
            WindowRows(
                wanted,
                [row for row, (_, residue) in enumerate(found) if residue == wanted],
                [ahead * width for ahead, residue in found if residue == wanted],
            )
            for wanted in sorted({residue for _, residue in found})
        ]

    @cached_property
    def block(self) -> Pair:
        """How many images and channels are best worked on at once."""
        images = max(1, min(self.images, -(-LINE_ELEMENTS // self.residues.pixels)))
        lines = max(self.residues.count, sum(self.windows.kernel))
        return images, max(1, min(self.channels, BLOCK_ELEMENTS // (self.residues.pixels * images * lines)))

    def scratch(self) -> tuple[TensorType, TensorType, TensorType]:
        """A block's residues, its output pixels, and both factors of a product."""
        images, channels = self.block
        line = images * self.residues.pixels
        shapes = (
            (self.residues.count * channels * line + LOOP_SLACK,),
            (channels * line + self.residues.farthest + LOOP_SLACK,),
            (channels, sum(self.windows.kernel), line),
        )
        residues, outputs, factors = (TensorType(DType.F32, shape) for shape in shapes)
        return residues, outputs, factors

    def input_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the images."""
        return self.scratch()

    @property
    def column_bytes(self) -> int:
        """Bytes of the images as they are laid out."""
        return 4 * self.images * self.channels * self.residues.count * self.residues.pixels

    def convolve(self, x: Array, w: Array, y: Array, residues: Array, outputs: Array, factors: Array) -> None:
        """Images x convolved with w into y."""
        loops = load("depthwise")
        if loops is not None:
            table, sizes = self._layout
            loops.convolve(owned(x), self._weight(w), y, table, sizes, *self._channel(residues, outputs))
            return
        for images, channels in self._blocks():
            lines, total = self._cut(x[images, channels], residues, outputs)
            self.residues.spread(x[images, channels], lines)
            total.fill(0)
            for group in self.rows:
                shifted, products = self._factors(total, group, factors)
                self._shift_columns(lines, group, shifted)
                np.matmul(w[channels, 0, group.rows], shifted, out=products)
                for number, ahead in enumerate(group.ahead):
                    count = total.shape[1] - ahead
                    np.add(total[:, :count], products[:, number, ahead:], out=total[:, :count])
            np.copyto(y[images, channels], self.residues.true(total))

    def input_gradient(self, dy: Array, w: Array, dx: Array, residues: Array, outputs: Array, factors: Array) -> None:
        """The gradient dx of the images, from dy of the result."""
        loops = load("depthwise")
        if loops is not None:
            order, behind = self._backwards
            own = self._channel(residues, outputs)
            front, sizes = self.residues.farthest, self._layout[1]
            loops.input_gradient(owned(dy), self._weight(w), dx, order, behind, sizes, front, *own)
            return
        for images, channels in self._blocks():
            lines, given = self._cut(dx[images, channels], residues, outputs)
            self.residues.lay_out(dy[images, channels], given)
            lines.fill(0)
            for group in self.rows:
                products, shifted = self._factors(given, group, factors)
                for number, ahead in enumerate(group.ahead):
                    shifted[:, number, :ahead].fill(0)
                    np.copyto(shifted[:, number, ahead:], given[:, : given.shape[1] - ahead])
                np.matmul(w[channels, 0, group.rows].swapaxes(1, 2), shifted, out=products)
                for number, (line, ahead) in enumerate(self._read(lines, group)):
                    pixels = line[:, ahead:]
                    np.add(pixels, products[:, number, : pixels.shape[1]], out=pixels)
            self.residues.collect(lines, dx[images, channels])

    def weight_gradient(self, dy: Array, x: Array, dw: Array, residues: Array, outputs: Array, factors: Array) -> None:
        """The gradient dw of the weight, from dy of the result."""
        loops = load("depthwise")
        if loops is not None:
            total = dw.reshape(self.channels, -1)
            table, sizes = self._layout
            loops.weight_gradient(owned(dy), owned(x), total, table, sizes, *self._channel(residues, outputs))
            return
        dw.fill(0)
        for images, channels in self._blocks():
            lines, given = self._cut(x[images, channels], residues, outputs)
            self.residues.spread(x[images, channels], lines)
            self.residues.lay_out(dy[images, channels], given)
            for group in self.rows:
                shifted, _ = self._factors(given, group, factors)
                self._shift_columns(lines, group, shifted)
                for row, ahead in zip(group.rows, group.ahead):
                    share = np.matmul(shifted[:, :, ahead:], given[:, : given.shape[1] - ahead, None])
                    total = dw[channels, 0, row]
                    np.add(total, share[:, :, 0], out=total)

    @cached_property
    def _layout(self) -> tuple[Array, Array]:
        """For compiled loops: how many bytes behind the window's number each position reads, residues following one
        another, and the sizes of the layout."""
        table = [4 * (residue * self.residues.pixels + ahead) for residue, ahead in self.residues.positions]
        sizes = (*self.windows.stride, *self.windows.padding, *self.residues.grid)
        return np.array(table, np.int64), np.array(sizes, np.int64)

    @cached_property
    def _backwards(self) -> tuple[Array, Array]:
        """For compiled loops: the positions by the residue that they read, and where each residue's begin; and how many
        bytes behind a pixel's number lies the window that reads it at the position."""
        positions = self.residues.positions
        order = sorted(range(len(positions)), key=lambda position: positions[position][0])
        begin = [sum(residue < wanted for residue, _ in positions) for wanted in range(self.residues.count + 1)]
        behind = [-4 * positions[position][1] for position in order]
        return np.array([*order, *begin], np.int64), np.array(behind, np.int64)

    def _weight(self, w: Array) -> Array:
        """The weight [channels, positions], contiguous."""
        return owned(np.ascontiguousarray(w.reshape(self.channels, -1)))

    def _channel(self, residues: Array, outputs: Array) -> tuple[Array, Array]:
        """Temporary arrays for one channel of an image: its residues, and one number per window of the grid."""
        outside = self.residues.farthest + LOOP_SLACK
        return cut(residues, self.residues.count * self.residues.pixels + LOOP_SLACK), cut(
            outputs, self.residues.pixels + outside
        )

    def _read(self, lines: Array, group: WindowRows) -> Iterator[tuple[Array, int]]:
        """For each column of the window the lines [channels, pixels] that it reads, and how far ahead."""
        for residue, ahead in self.columns:
            yield lines[group.residue * self.windows.stride[1] + residue], ahead

    def _shift_columns(self, lines: Array, group: WindowRows, shifted: Array) -> None:
        """The lines that the window's columns read, each shifted to its window's number; zeros behind them."""
        for number, (line, ahead) in enumerate(self._read(lines, group)):
            count = line.shape[1] - ahead
            np.copyto(shifted[:, number, :count], line[:, ahead:])
            shifted[:, number, count:].fill(0)

    def _factors(self, line: Array, group: WindowRows, factors: Array) -> tuple[Array, Array]:
        """A line for every column of the window, and one for every row of it in a group: [channels, kw or kh, pixels].

        `line` is an example of a block's lines.
        """
        channels, pixels = line.shape
        columns = cut(factors, channels, len(self.columns), pixels)
        return columns, cut(factors.reshape(-1)[columns.size :], channels, len(group.rows), pixels)

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """The images and the channels of each block."""
        images, channels = self.block
        for channel in range(0, self.channels, channels):
            for image in range(0, self.images, images):
                yield slice(image, image + images), slice(channel, channel + channels)

    def _cut(self, x: Array, residues: Array, outputs: Array) -> tuple[Array, Array]:
        """The scratch arrays for a block of images x."""
        line = (x.shape[1], len(x) * self.residues.pixels)
        return cut(residues, self.residues.count, *line), cut(outputs, *line)
