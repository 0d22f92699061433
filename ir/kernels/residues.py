"""Padded images laid out by residues, so that a position of a sliding window is a shift of whole lines without gaps.

Pixel (r, c) of a padded image has the residue (r mod stride, c mod stride); all pixels of one residue stand together,
pixel (r, c) at (r div stride, c div stride). There, a position of the window lies the same distance ahead of the
window's number for all windows. So, on a grid of windows as wide as the pixels of a residue, whatever is done at a
position is done to one line that goes through all images of a channel. The grid's windows beyond the true ones are
computed and not used, or hold zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ir.kernels.native import load
from ir.kernels.window import Pair, Windows
from ir.op import Array

BLOCK_ELEMENTS = 1 << 17
"""Elements of a block, of all residues: with sums and products they fill half a core's second-level cache."""

Position = tuple[int, int]
"""A position within the window: the residue it reads, and how far ahead of the window's number."""


@dataclass(frozen=True)
class Residues:
    """The layout for windows on images [images, channels, h, w]: lines [residues, channels, images * grid]."""

    windows: Windows

    @cached_property
    def grid(self) -> Pair:
        """The extents of the pixels of one residue, and of the grid of windows."""
        return tuple(-(-extent // stride) for extent, stride in zip(self.windows.padded, self.windows.stride))

    @cached_property
    def pixels(self) -> int:
        """Pixels of one residue in an image."""
        return math.prod(self.grid)

    @cached_property
    def count(self) -> int:
        """How many residues there are."""
        return math.prod(self.windows.stride)

    @cached_property
    def positions(self) -> list[Position]:
        """All positions of the window, row by row."""
        (down, across), (rows, columns) = self.windows.stride, self.windows.dilation
        found = []
        for row, column in self.windows.positions():
            below, row_residue = divmod(row * rows, down)
            beside, column_residue = divmod(column * columns, across)
            found.append((row_residue * across + column_residue, below * self.grid[1] + beside))
        return found

    @cached_property
    def farthest(self) -> int:
        """How far ahead any position lies: so many numbers at a line's end are of no true window."""
        return max(ahead for _, ahead in self.positions)

    def spread(self, x: Array, lines: Array, around: float = 0) -> None:
        """Lay images [images, channels, h, w] out in residues, with the number `around` about them."""
        loops = load("lines") if lines.flags.c_contiguous and lines.dtype == x.dtype == np.float32 else None
        if loops is not None and x.flags.writeable:
            loops.spread(x, *self.windows.stride, *self.windows.padding, *self.grid, around, lines)
            return
        for residue, inside, pixels in self._shares(x, lines):
            np.copyto(residue[..., inside[0], inside[1]], pixels)
        self.surround(x, lines, around)

    def surround(self, x: Array, lines: Array, around: float) -> None:
        """Put a number about images x that are laid out in residues."""
        for residue, (rows, columns), _ in self._shares(x, lines):
            for outside in (slice(rows.start), slice(rows.stop, None)):
                residue[:, :, outside].fill(around)
            for outside in (slice(columns.start), slice(columns.stop, None)):
                residue[:, :, :, outside].fill(around)

    def collect(self, lines: Array, x: Array) -> None:
        """The images that residues hold."""
        for residue, inside, pixels in self._shares(x, lines):
            np.copyto(pixels, residue[..., inside[0], inside[1]])

    def lay_out(self, y: Array, grid: Array) -> None:
        """Lay one number per window [images, channels, oh, ow] out on the grid, with zeros behind them."""
        grid.fill(0)
        np.copyto(self.true(grid), y)

    def deliver(self, grid: Array, y: Array) -> None:
        """The true windows of the grid as results y [images, channels, oh, ow]."""
        loops = load("lines") if grid.flags.c_contiguous and grid.dtype == y.dtype == np.float32 else None
        if loops is None or y.strides[3] != y.itemsize:
            np.copyto(y, self.true(grid))
        else:
            loops.collect(grid, self.pixels, self.grid[1], y)

    def true(self, grid: Array) -> Array:
        """The true windows among the grid's [channels, images * pixels]: a view [images, channels, oh, ow]."""
        height, width = self.windows.count
        numbers: Array = grid.reshape(len(grid), -1, *self.grid).swapaxes(0, 1)
        return numbers[:, :, :height, :width]

    def _shares(self, x: Array, lines: Array) -> Iterator[tuple[Array, tuple[slice, slice], Array]]:
        """Each residue [images, channels, rows, columns], the part of it that holds pixels of x, and those pixels."""
        residues = lines.reshape(*self.windows.stride, lines.shape[1], len(x), *self.grid)
        for row in range(self.windows.stride[0]):
            for column in range(self.windows.stride[1]):
                (rows, row_pixels), (columns, column_pixels) = self._share(0, row), self._share(1, column)
                yield residues[row, column].swapaxes(0, 1), (rows, columns), x[..., row_pixels, column_pixels]

    def _share(self, axis: int, residue: int) -> tuple[slice, slice]:
        """Along one axis: where a residue holds pixels of the image, and which ones."""
        stride, padding = self.windows.stride[axis], self.windows.padding[axis]
        first = (residue - padding) % stride
        count = max(0, -(-(self.windows.image[axis] - first) // stride))
        start = (first + padding) // stride
        return slice(start, start + count), slice(first, None, stride)


@lru_cache(maxsize=1024)
def residues_of(windows: Windows) -> Residues:
    """The layout for these windows, worked out once."""
    return Residues(windows)
