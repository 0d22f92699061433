"""Convolution and its two gradients as a matrix product per position of the window, without copying columns.

With images laid out by residues (`residues.py`) as lines [ci, pixels] and one number per window as lines [co, pixels],
a position of the window is a shift between the two:

    y[i]            += w[position] @ x[i + ahead]
    x[i + ahead]    += w[position]^T @ dy[i]
    w[position]     += dy[i] @ x[i + ahead]^T

BLAS multiplies parts of lines where they lie, and adds the products up (`gemm.py`). What that costs depends on the
channels that a product sums over; and the windows beyond the true ones, at the end of each row and image, are computed
in vain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from ir.kernels.gemm import (
    LINE_SLACK,
    PANEL,
    add_line_products,
    add_matmul,
    matmul,
    multiply_lines,
    multiply_windows,
    native,
)
from ir.kernels.geometry import Geometry
from ir.kernels.layout import cut
from ir.kernels.native import load, owned
from ir.kernels.residues import Residues, residues_of
from ir.op import Array
from ir.types import DType, TensorType

LEAST_DEPTH = 16
"""Channels that a product must sum over to outweigh adding it to the others."""

MOST_WASTE = 1.3
"""Windows that may be computed, beside the true ones."""

MOST_LINE_WASTE = 1.1
"""The same where lines are multiplied where they lie. Beyond it, what the true windows read is copied."""

LEAST_OUTPUTS = 8
"""Rows of a product of lines from which it outweighs laying them out."""

LEAST_CHANNELS = 8
"""Channels of the images from which those that lie side by side fill enough of a vector."""

LINE_ELEMENTS = 4096
"""Pixels of the lines of a block of images, at least, where there are as many."""

STRETCH_ELEMENTS = 1 << 16
"""Elements of the part of the result that is summed up at once: 256 KiB, which stay in cache with both factors."""

PRODUCT_ELEMENTS = 1 << 18
"""Elements of the products of all positions with one part of a gradient: 1 MiB."""


@dataclass(frozen=True)
class Shifted(Geometry):
    """How the products are blocked."""

    @cached_property
    def residues(self) -> Residues:
        """How images are laid out."""
        return residues_of(self.windows)

    @cached_property
    def block(self) -> int:
        """Images laid out at once."""
        return max(1, min(self.images, -(-LINE_ELEMENTS // self.residues.pixels)))

    @cached_property
    def positions(self) -> int:
        """Positions of the window."""
        return math.prod(self.windows.kernel)

    @cached_property
    def column_bytes(self) -> int:
        """Bytes of the images as they are laid out."""
        return 4 * self.images * self.inputs * self.residues.count * self.residues.pixels

    def pays(self, depth: int) -> bool:
        """Whether this is worthwhile where the products sum over so many channels.

        Windows that move by one pixel are copied in long runs, and larger products outweigh that.
        """
        if max(self.windows.stride) == 1 or self.positions == 1 or depth < LEAST_DEPTH:
            return False
        return self.residues.pixels <= MOST_WASTE * self.pixels

    @cached_property
    def line_windows(self) -> int:
        """Windows of an image's line from its first true one to its last."""
        height, width = self.windows.count
        return (height - 1) * self.residues.grid[1] + width

    @cached_property
    def pays_by_lines(self) -> bool:
        """Whether one product for all positions of the window is possible and worthwhile."""
        return self.outputs >= LEAST_OUTPUTS * self.groups and native() is not None

    @cached_property
    def is_wide(self) -> bool:
        """Whether lines are multiplied where they lie."""
        return -(-self.line_windows // PANEL) * PANEL <= MOST_LINE_WASTE * self.pixels

    @cached_property
    def fills_vectors(self) -> bool:
        """Whether a row of results is of whole vectors: then products are made where the results belong."""
        loops = native()
        return loops is not None and self.windows.count[1] % loops.LANES == 0

    @cached_property
    def transposed(self) -> Shifted | None:
        """The convolution of the result's gradient that makes the images'; None where windows move by several pixels
        or are padded beyond their reach."""
        windows = self.windows
        reach = [dilation * (kernel - 1) for kernel, dilation in zip(windows.kernel, windows.dilation)]
        padding = tuple(extent - padding for extent, padding in zip(reach, windows.padding))
        if windows.stride != (1, 1) or min(padding) < 0:
            return None
        other = replace(windows, image=windows.count, padding=padding)
        return Shifted(self.images, self.groups, self.outputs, self.inputs, other)

    def scratch(self) -> tuple[TensorType, ...]:
        """A block's images as lines, its results as lines, products, and a weight by position."""
        line = self.block * self.residues.pixels
        terms = self.positions * self.inputs * self._step(self.positions * self.inputs, PRODUCT_ELEMENTS)
        shapes = (
            (self.residues.count * self.inputs * line + LINE_SLACK,),
            (self.outputs, line),
            (terms,),
            (self.positions, self.outputs, self.inputs // self.groups),
        )
        return tuple(TensorType(DType.F32, shape) for shape in shapes)

    def input_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the images, and a weight with its channels exchanged."""
        if self.transposed is None or not self.transposed.pays_by_lines:
            return self.scratch()
        return (*self.transposed.scratch(), TensorType(DType.F32, (self.inputs, self.depth_backwards)))

    def weight_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the weight, with lines whose channels lie side by side for products."""
        lines, results, product, weights = self.scratch()
        if self.weight_pays_by_lines:
            panels = self.residues.count * self._panels * PANEL * self.block * self.residues.pixels
            product = TensorType(DType.F32, (panels,))
        return lines, results, product, weights

    @property
    def depth_backwards(self) -> int:
        """Terms of the sums that make an element of the images' gradient."""
        return self.outputs // self.groups * self.positions

    def convolve(self, x: Array, w: Array, y: Array, lines: Array, results: Array, _: Array, weights: Array) -> None:
        """Images x convolved with w into y."""
        if self.pays_by_lines:
            self._convolve_lines(x, w, y, lines, results, weights)
            return
        by_position = weights.reshape(*self.windows.kernel, self.groups, -1, self.inputs // self.groups)
        np.copyto(by_position, self._grouped(w).transpose(3, 4, 0, 1, 2))
        by_position = by_position.reshape(self.positions, *by_position.shape[2:])
        for images in self._blocks():
            laid_out, total = self._cut(x[images], lines, results)
            self.residues.spread(x[images], laid_out.reshape(self.residues.count, self.inputs, -1))
            for stretch in self._stretches(total, self._step(self.outputs, STRETCH_ELEMENTS)):
                made = total[:, :, stretch]
                for number, pixels in enumerate(self._read(laid_out, stretch)):
                    (add_matmul if number else matmul)(by_position[number], pixels, made)
            self.residues.deliver(total.reshape(self.outputs, -1), y[images])

    def _convolve_lines(self, x: Array, w: Array, y: Array, lines: Array, results: Array, weights: Array) -> None:
        """The same, with one product for all positions of the window."""
        rows: Array = weights.reshape(self.groups, self.outputs // self.groups, -1)
        if w.flags.carray:
            rows = w.reshape(rows.shape)
        else:
            np.copyto(rows.reshape(w.shape), w)
        for images in self._blocks():
            count = len(x[images])
            laid_out, total = self._cut(x[images], lines, results)
            self.residues.spread(x[images], laid_out.reshape(self.residues.count, self.inputs, -1))
            table = _places(self, count)
            step, pitch = self.residues.pixels, self.residues.grid[1]
            if self.fills_vectors and y.strides[3] == y.itemsize:
                results_of = y[images].reshape(count, self.groups, -1, *self.windows.count).swapaxes(0, 1)
                for weight, pixels, delivered in zip(rows, laid_out[0], results_of):
                    multiply_lines(weight, pixels, table, step, pitch, delivered)
            elif self.is_wide:
                for weight, pixels, made in zip(rows, laid_out[0], total):
                    by_image = made.reshape(len(made), count, 1, step).swapaxes(0, 1)
                    multiply_lines(weight, pixels, table, step, 0, by_image[..., : self.line_windows])
                self.residues.deliver(total.reshape(self.outputs, -1), y[images])
            else:
                compact = cut(results, self.groups, self.outputs // self.groups, count * self.pixels)
                for weight, pixels, made in zip(rows, laid_out[0], compact):
                    multiply_windows(weight, pixels, table, _window_places(self, count)[0], made)
                np.copyto(y[images], compact.reshape(self.outputs, count, *self.windows.count).swapaxes(0, 1))

    def input_gradient(self, dy: Array, w: Array, dx: Array, *scratch: Array) -> None:
        """The gradient dx of the images, from dy of the result."""
        if self.transposed is None or not self.transposed.pays_by_lines:
            self._add_up(dy, w, dx, *scratch)
            return
        loops = load("lines")
        if loops is None:
            raise ValueError("the compiled loops are switched off since this was planned")
        *others, weight = scratch
        exchanged = weight.reshape(self.groups, self.inputs // self.groups, -1, *self.windows.kernel)
        for given, made in zip(self._grouped(owned(w)), exchanged):
            loops.exchange(given, made)
        self.transposed.convolve(dy, exchanged.reshape(self.inputs, *exchanged.shape[2:]), dx, *others)

    def _add_up(
        self, dy: Array, w: Array, dx: Array, lines: Array, results: Array, product: Array, weights: Array
    ) -> None:
        """The same by products for every position, added up where the pixels lie."""
        transposed = weights.reshape(self.groups, *self.windows.kernel, self.inputs // self.groups, -1)
        np.copyto(transposed, self._grouped(w).transpose(0, 3, 4, 2, 1))
        transposed = transposed.reshape(self.groups, -1, transposed.shape[-1])
        for images in self._blocks():
            laid_out, given = self._cut(dx[images], lines, results)
            self.residues.lay_out(dy[images], given.reshape(self.outputs, -1))
            laid_out.fill(0)
            for stretch in self._stretches(given, self._step(self.positions * self.inputs, PRODUCT_ELEMENTS)):
                terms = cut(product, self.groups, transposed.shape[1], stretch.stop - stretch.start)
                matmul(transposed, given[:, :, stretch], terms)
                by_position = terms.reshape(self.groups, self.positions, -1, terms.shape[2])
                for number, pixels in enumerate(self._read(laid_out, stretch)):
                    np.add(pixels, by_position[:, number], out=pixels)
            self.residues.collect(laid_out.reshape(self.residues.count, self.inputs, -1), dx[images])

    def weight_gradient(
        self, dy: Array, x: Array, dw: Array, lines: Array, results: Array, product: Array, weights: Array
    ) -> None:
        """The gradient dw of the weight, from dy of the result."""
        if self.weight_pays_by_lines:
            self._weight_gradient_by_lines(dy, x, dw, lines, results, product, weights)
            return
        total = weights.reshape(self.positions, self.groups, -1, self.inputs // self.groups)
        total.fill(0)
        for images in self._blocks():
            laid_out, given = self._cut(x[images], lines, results)
            self.residues.spread(x[images], laid_out.reshape(self.residues.count, self.inputs, -1))
            self.residues.lay_out(dy[images], given.reshape(self.outputs, -1))
            for stretch in self._stretches(given, self._step(self.outputs, STRETCH_ELEMENTS)):
                for number, pixels in enumerate(self._read(laid_out, stretch)):
                    add_matmul(given[:, :, stretch], pixels.swapaxes(1, 2), total[number])
        by_position = total.reshape(*self.windows.kernel, *total.shape[1:])
        np.copyto(self._grouped(dw), by_position.transpose(2, 3, 4, 0, 1))

    def _weight_gradient_by_lines(
        self, dy: Array, x: Array, dw: Array, lines: Array, results: Array, panels: Array, weights: Array
    ) -> None:
        """The same, with one sum over all windows of a block for every position."""
        total = weights.reshape(self.groups, self.positions, -1, self.inputs // self.groups)
        total.fill(0)
        for images in self._blocks():
            laid_out, _ = self._cut(x[images], lines, results)
            self.residues.spread(x[images], laid_out.reshape(self.residues.count, self.inputs, -1))
            given = cut(results, *dy[images].shape)
            np.copyto(given, dy[images])
            by_group = given.reshape(len(given), self.groups, -1, self.pixels)
            windows, shifts = _window_places(self, len(given))
            for group in range(self.groups):
                add_line_products(by_group[:, group], laid_out[:, group], panels, windows, shifts, total[group])
        by_position = total.reshape(self.groups, *self.windows.kernel, *total.shape[2:])
        np.copyto(self._grouped(dw), by_position.transpose(0, 3, 4, 1, 2))

    @property
    def _panels(self) -> int:
        """Panels of the channels of a group."""
        return -(-self.inputs // self.groups // PANEL)

    @cached_property
    def weight_pays_by_lines(self) -> bool:
        """The same for the gradient of the weight, where channels lie side by side."""
        channels = self.inputs // self.groups
        is_wide = self.outputs >= LEAST_OUTPUTS * self.groups and channels >= LEAST_CHANNELS
        return is_wide and native() is not None

    def _grouped(self, w: Array) -> Array:
        """A weight as [groups, co / g, ci / g, kh, kw]."""
        grouped: Array = w.reshape(self.groups, -1, *w.shape[1:])
        return grouped

    def _read(self, laid_out: Array, stretch: slice) -> Iterator[Array]:
        """For each position of the window, the pixels [g, ci / g, count] that a stretch of windows reads."""
        for residue, ahead in self.residues.positions:
            yield laid_out[residue, :, :, stretch.start + ahead : stretch.stop + ahead]

    def _step(self, channels: int, elements: int) -> int:
        """Windows worked on at once, so that so many channels of them have about this many elements."""
        return min(self.block * self.residues.pixels, max(256, elements // channels))

    def _stretches(self, line: Array, step: int) -> Iterator[slice]:
        """All windows of a block, as many at once; `line` is an example of its lines."""
        count = line.shape[-1] - self.residues.farthest
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _blocks(self) -> Iterator[slice]:
        """The images of each block."""
        return (slice(start, min(start + self.block, self.images)) for start in range(0, self.images, self.block))

    def _cut(self, x: Array, lines: Array, results: Array) -> tuple[Array, Array]:
        """The scratch arrays for a block of images x: [residues, g, ci / g, pixels] and [g, co / g, pixels]."""
        line = len(x) * self.residues.pixels
        images = cut(lines, self.residues.count, self.groups, self.inputs // self.groups, line)
        return images, cut(results, self.groups, self.outputs // self.groups, line)


@lru_cache(maxsize=1024)
def _places(sizes: Shifted, images: int) -> Array:
    """Where the lines of a group begin that the channels and positions of a weight are multiplied with, in bytes."""
    line = images * sizes.residues.pixels
    channels = np.arange(sizes.inputs // sizes.groups)[:, None] * line
    positions = np.array([residue * sizes.inputs * line + ahead for residue, ahead in sizes.residues.positions])
    return np.ascontiguousarray(4 * (channels + positions).reshape(-1), np.int64)


@lru_cache(maxsize=1024)
def _window_places(sizes: Shifted, images: int) -> tuple[Array, Array]:
    """The pixels of lines at which the true windows of so many images lie, and how far ahead each position reads."""
    (height, width), pitch, pixels = sizes.windows.count, sizes.residues.grid[1], sizes.residues.pixels
    places = np.arange(images)[:, None, None] * pixels + np.arange(height)[:, None] * pitch + np.arange(width)
    shifts = np.array([residue * images * pixels + ahead for residue, ahead in sizes.residues.positions])
    return places.reshape(-1), shifts
