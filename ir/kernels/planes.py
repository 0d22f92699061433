"""Pooling of images, plane by plane: as many planes at once as stay in cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ir.kernels.layout import cut
from ir.kernels.native import load
from ir.kernels.residues import BLOCK_ELEMENTS, Residues, residues_of
from ir.kernels.window import Pair, Windows
from ir.op import Array
from ir.types import DType, TensorType

WIDE = 16
"""Columns of a window from which summing and repeating along rows beats going column by column."""


@dataclass(frozen=True)
class Planes:
    """Windows on images [..., h, w] of this shape; a plane is one channel of one image."""

    windows: Windows
    shape: Pair

    @cached_property
    def residues(self) -> Residues:
        """How planes are laid out where windows overlap or move by several pixels."""
        return residues_of(self.windows)

    @cached_property
    def size(self) -> int:
        """Planes that are worked on at once."""
        count = math.prod(self.shape[:-2])
        most = max(1, BLOCK_ELEMENTS // (self.residues.pixels * self.residues.count))
        return max(1, -(-count // max(1, -(-count // most))))

    def lines(self, dtype: DType) -> TensorType:
        """A temporary array for a block's residues."""
        return TensorType(dtype, (self.residues.count, 1, self.size * self.residues.pixels))

    def line(self, dtype: DType) -> TensorType:
        """A temporary array for a number per window of a block, or for its rows of windows as wide as the images."""
        rows = self.windows.count[0] * self.shape[-1]
        return TensorType(dtype, (1, self.size * max(self.residues.pixels, rows)))

    def blocks(self, *arrays: Array) -> Iterator[tuple[Array, ...]]:
        """The arrays [..., height, width] block by block, each as [planes, 1, height, width]."""
        planes = [array.reshape(-1, 1, *array.shape[-2:]) for array in arrays]
        for start in range(0, len(planes[0]), self.size):
            yield tuple(array[start : start + self.size] for array in planes)

    def largest_in_loops(self, x: Array, y: Array, index: Array) -> bool:
        """What `largest` does, by compiled loops; False, and nothing done, where they do not take these arrays."""
        loops = load("pooling")
        arrays = [as_images(array) for array in (x, y, index)]
        if loops is None or any(array is None for array in arrays) or not _have_rows(x):
            return False
        loops.largest(arrays[0], *self._geometry(), *arrays[1:])
        return True

    def scatter_in_loops(self, share: Array, position: Array, x: Array) -> bool:
        """What `scatter` does, by compiled loops; False, and nothing done, where they do not take these arrays."""
        loops = load("pooling")
        arrays = [as_images(array) for array in (share, position, x)]
        if loops is None or any(array is None for array in arrays) or not _have_rows(share, x):
            return False
        loops.scatter(*arrays[:2], *self._geometry(), arrays[2])
        return True

    def _geometry(self) -> tuple[Pair, ...]:
        windows = self.windows
        return windows.kernel, windows.stride, windows.padding, windows.dilation

    def largest(
        self, x: Array, y: Array, index: Array, lines: Array, best: Array, rank: Array, is_largest: Array
    ) -> None:
        """The largest element of each window, and the number of its first position; NaN and its last position where
        there is one.

        The rank of a position counts from the last, which has one; the first of equals has the highest rank.
        """
        residues, count = self._residues_of(x, lines, -np.inf)
        positions = [line[:count] for line in residues]
        best, rank, flags = (cut(array, 1, len(x) * self.residues.pixels) for array in (best, rank, is_largest))
        self._largest_by_passes(x, lines, positions, best[0, :count], rank[0, :count], flags[0, :count])
        np.copyto(y, self.residues.true(best))
        np.copyto(index, self.residues.true(rank))

    def _largest_by_passes(
        self, x: Array, lines: Array, positions: list[Array], highest: Array, first: Array, flags: Array
    ) -> None:
        here = flags.view(np.bool_)
        np.copyto(highest, positions[0])
        for line in positions[1:]:
            np.maximum(highest, line, out=highest)
        self.residues.surround(x, self._lines(x, lines), np.nan)  # which nothing equals, not even minus infinity
        first.fill(1)
        for number, line in enumerate(positions[:-1]):
            np.equal(line, highest, out=here)
            np.multiply(here.view(np.int8), np.int8(len(positions) - number), out=here.view(np.int8))
            np.maximum(first, here.view(np.int8), out=first)
        np.subtract(np.int8(len(positions)), first, out=first)
        if np.isnan(highest).any():
            self.residues.surround(x, self._lines(x, lines), 0)
            for number, line in enumerate(positions):
                np.copyto(first, number, where=np.isnan(line), casting="unsafe")

    def sum(self, x: Array, y: Array, lines: Array, sums: Array) -> None:
        """The sum of each window."""
        residues, count = self._residues_of(x, lines, 0)
        sums = cut(sums, 1, len(x) * self.residues.pixels)
        total = sums[0, :count]
        total.fill(0)
        for line in residues:
            np.add(total, line[:count], out=total)
        np.copyto(y, self.residues.true(sums))

    def add(self, share: Array, x: Array, lines: Array, grid: Array) -> None:
        """The images whose pixels are the sums of the shares of all windows they lie in."""
        grid, lines = cut(grid, 1, len(x) * self.residues.pixels), self._lines(x, lines)
        self.residues.lay_out(share, grid)
        lines.fill(0)
        for residue, ahead in self.residues.positions:
            line = lines[residue, 0, ahead:]
            np.add(line, grid[0, : line.size], out=line)
        self.residues.collect(lines, x)

    def sum_tiles(self, x: Array, y: Array, rows: Array) -> None:
        """The sum of each window, where windows lie side by side: of their rows, then along the row that is left."""
        (height, width), image = self.windows.kernel, self.windows.image
        total = cut(rows, len(x), self.windows.count[0], image[1])
        tiles = x.reshape(len(x), self.windows.count[0], height, image[1])
        np.copyto(total, tiles[:, :, 0])
        for row in range(1, height):
            np.add(total, tiles[:, :, row], out=total)
        if width >= WIDE:
            np.add.reduce(total.reshape(*y[:, 0].shape, width), axis=-1, out=y[:, 0])
            return
        np.copyto(y[:, 0], total[..., ::width])
        for column in range(1, width):
            np.add(y[:, 0], total[..., column::width], out=y[:, 0])

    def repeat_in_tiles(self, share: Array, x: Array, rows: Array) -> None:
        """The images each of whose pixels has the share of its window: a row of windows, then that row repeated."""
        (height, width), image = self.windows.kernel, self.windows.image
        row = cut(rows, len(x), self.windows.count[0], image[1])
        if width >= WIDE:
            np.copyto(row.reshape(*share[:, 0].shape, width), share[:, 0, :, :, None])
        else:
            for column in range(width):
                np.copyto(row[..., column::width], share[:, 0])
        np.copyto(x.reshape(len(x), self.windows.count[0], height, image[1]), row[:, :, None])

    def first_pixels(self, out: Array) -> None:
        """The pixel at which each window begins, counted through the padded planes of a block: [planes, windows]."""
        (rows, columns), (down, across) = self.windows.count, self.windows.stride
        height, width = self.windows.padded
        row, column = np.ogrid[:rows, :columns]
        within = (row * (down * width) + column * across).reshape(-1)
        np.add(np.arange(len(out))[:, None] * (height * width), within, out=out)

    def scatter(self, share: Array, position: Array, x: Array, places: Array, padded: Array) -> None:
        """The images whose pixels are the sums of the shares of all windows with the pixel at their `position`.

        `places` are three temporary arrays of integers [planes, windows], the last of which holds `first_pixels`.
        """
        number, place, first = places
        width = self.windows.padded[1]
        rows, columns = self.windows.dilation
        ahead = np.array([row * rows * width + column * columns for row, column in self.windows.positions()])
        np.copyto(number, position.reshape(number.shape))
        np.take(ahead, number, out=place, mode="clip")
        np.add(place, first, out=place)
        is_padded = any(self.windows.padding)
        target = padded[: len(x)] if is_padded else x[:, 0]
        target.fill(0)
        pixels = target.reshape(-1)
        if self.windows.are_apart:
            pixels[place.reshape(-1)] = share.reshape(-1)
        else:
            np.add.at(pixels, place.reshape(-1), share.reshape(-1))
        if is_padded:
            (top, left), (rows, columns) = self.windows.padding, self.windows.image
            np.copyto(x[:, 0], target[:, top : top + rows, left : left + columns])

    def _lines(self, x: Array, lines: Array) -> Array:
        """The part of a temporary array that holds the residues of x."""
        return cut(lines, self.residues.count, 1, len(x) * self.residues.pixels)

    def _residues_of(self, x: Array, lines: Array, around: float) -> tuple[list[Array], int]:
        """For each position of the window the line that it reads; and how many windows all of them have."""
        laid_out = self._lines(x, lines)
        self.residues.spread(x, laid_out, around)
        read = [laid_out[residue, 0, ahead:] for residue, ahead in self.residues.positions]
        return read, laid_out.shape[2] - self.residues.farthest


def as_images(array: Array) -> Array | None:
    """An array [..., h, w] as [n, c, h, w]; None where that is no view of it."""
    if array.ndim == 4:
        return array
    images = array.reshape(-1, 1, *array.shape[-2:]) if array.size else array
    return images if images.ndim == 4 and np.may_share_memory(images, array) else None


def _have_rows(*arrays: Array) -> bool:
    """Whether these are float32 with contiguous rows, and not read-only."""
    return all(
        array.dtype == np.float32 and array.strides[-1] == 4 and array.strides[-2] % 4 == 0 and array.flags.writeable
        for array in arrays
    )
