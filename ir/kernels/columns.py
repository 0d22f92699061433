"""Convolution and its two gradients as matrix products with columns of pixels.

With the columns of an image the matrix [ci * kh * kw, oh * ow] whose column is the window of one output pixel:

    y       = w @ columns(x)              columns copied out of the image
    dx      = image(w^T @ dy)             columns added back into the image; or, where that is less work,
              w' @ columns(dy)            w' being the weight with its channels exchanged and its positions reversed
    dw      = (columns(x) @ dy^T)^T

The work is cut into blocks of enough columns to keep the product busy, few enough to stay in cache: several images, or
several rows of one. Inside a block the images are the last axis, [c, h, w, n], so that columns are copied and added in
runs of whole rows of pixels of all its images. A convolution of single pixels is a product per image, without columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ir.kernels.gemm import add_matmul, matmul
from ir.kernels.geometry import Geometry
from ir.op import Array
from ir.types import DType, TensorType

COLUMN_ELEMENTS = 1 << 18
"""Elements of a block's columns: 1 MiB, what a core's second-level cache holds."""

SMALL_PRODUCT = 1_000_000
"""Multiplications up to which BLAS multiplies matrices where they are, without packing them first."""

MINIMUM_COLUMNS = 256
"""Columns below which a matrix product is dominated by calls, or by the packing of its other operand."""

RUN_ELEMENTS = 96
"""Elements that a copy should find side by side: rows of this many pixels are copied as they are, shorter ones with
as many images side by side."""


@dataclass(frozen=True)
class Columns(Geometry):
    """How the columns are blocked: for products without packing, unless `packs`."""

    packs: bool = False

    @cached_property
    def columns(self) -> int:
        """Output pixels that are best multiplied at once."""
        unpacked = SMALL_PRODUCT // (self.depth * self.outputs // self.groups)
        cached = max(MINIMUM_COLUMNS, COLUMN_ELEMENTS // (self.depth * self.groups))
        return cached if self.packs or unpacked < MINIMUM_COLUMNS else min(cached, unpacked)

    @cached_property
    def block(self) -> tuple[int, int]:
        """Images whose columns are multiplied at once, and rows of output pixels of each."""
        height, width = self.windows.count
        images = min(self.images, max(1, RUN_ELEMENTS // width, self.columns // self.pixels))
        return _even(self.images, images), _even(height, self.columns // (width * max(1, images)))

    @cached_property
    def column_bytes(self) -> int:
        """Bytes of all columns that are made."""
        return 0 if self.windows.is_pointwise else 4 * self.images * self.groups * self.depth * self.pixels

    @property
    def is_padded(self) -> bool:
        """Whether windows reach beyond the image."""
        return any(self.windows.padding)

    def image_blocks(self) -> Iterator[slice]:
        """The images of each block."""
        return _stretches(self.images, self.block[0])

    def row_blocks(self) -> Iterator[slice]:
        """The rows of output pixels of each block."""
        return _stretches(self.windows.count[0], self.block[1])

    def scratch(self) -> tuple[TensorType, ...]:
        """One block's columns, its output pixels, and its input images with padding, images last; and a weight."""
        images, rows = self.block
        pixels = (rows, self.windows.count[1], images)
        shapes = (
            (self.groups, self.depth, *pixels),
            (self.outputs, *pixels),
            (self.inputs, *self.windows.padded, images),
        )
        return tuple(TensorType(DType.F32, shape) for shape in (*shapes, (self.outputs, self.depth)))

    def input_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the images."""
        return (self.transposed or self.with_packing).scratch()

    def as_matrices(self, array: Array) -> Array:
        """A block's columns or output pixels as a matrix of channels (and positions) by pixels for each group."""
        matrices: Array = array.reshape(self.groups, -1, math.prod(array.shape[-3:]))
        return matrices

    def windows_of(self, x: Array, padded: Array) -> Array:
        """The windows of a block of images x: a view [ci, kh, kw, oh, ow, n] of its padded images."""
        source = x.transpose(1, 2, 3, 0)
        if len(x) == 1 and not self.is_padded:
            return self.windows.view(source)
        padded = _shortened(padded, 3, len(x))
        if self.is_padded:
            padded.fill(0)
        padded[self.windows.inner()] = source
        return self.windows.view(padded)

    def columns_of(self, windows: Array, rows: slice, columns: Array) -> Array:
        """The columns of some rows of output pixels, as matrices, from the windows of a block of images."""
        columns = _shortened(_shortened(columns, 4, windows.shape[5]), 2, rows.stop - rows.start)
        np.copyto(self.by_position(columns), windows[:, :, :, rows])
        return self.as_matrices(columns)

    def outputs_of(self, y: Array, rows: slice, outputs: Array) -> Array:
        """Some rows of a block of output images y, as matrices."""
        outputs = _shortened(_shortened(outputs, 3, len(y)), 1, rows.stop - rows.start)
        np.copyto(outputs, y[:, :, rows].transpose(1, 2, 3, 0))
        return self.as_matrices(outputs)

    def pixels_of(self, y: Array, rows: slice, outputs: Array) -> Array:
        """Some rows of a block of output images y, as matrices [g, pixels, co / g]."""
        source = y[:, :, rows].reshape(len(y), self.groups, -1, rows.stop - rows.start, y.shape[3])
        pixels = outputs.reshape(-1)[: source.size].reshape(self.groups, *source.shape[3:], len(y), source.shape[2])
        np.copyto(pixels, source.transpose(1, 3, 4, 0, 2))
        matrices: Array = pixels.reshape(self.groups, -1, source.shape[2])
        return matrices

    def convolve(self, x: Array, w: Array, y: Array, columns: Array, product: Array, padded: Array, *_: Array) -> None:
        """Images x convolved with w into y."""
        weight = w.reshape(self.groups, -1, self.depth)
        if self.windows.is_pointwise and y.flags.c_contiguous:
            shape = (self.groups, -1, self.pixels)
            for image, made in zip(x, y):
                matmul(weight, image.reshape(shape), made.reshape(shape))
            return
        for images in self.image_blocks():
            windows = self.windows_of(x[images], padded)
            for rows in self.row_blocks():
                made = y[images, :, rows].transpose(1, 2, 3, 0)
                outputs = _shortened(_shortened(product, 3, made.shape[3]), 1, made.shape[1])
                matmul(weight, self.columns_of(windows, rows, columns), self.as_matrices(outputs))
                np.copyto(made, outputs)

    @cached_property
    def with_packing(self) -> Columns:
        """The same in larger blocks, for where the product is followed by many small additions."""
        return replace(self, packs=True)

    @cached_property
    def transposed(self) -> Columns | None:
        """The convolution of dy, with the weight's channels exchanged and its positions reversed, that makes dx.

        None where there is none (windows that move by more than a pixel, padding beyond a window's reach) or where
        its columns would be the larger ones.
        """
        reach = [dilation * (kernel - 1) for kernel, dilation in zip(self.windows.kernel, self.windows.dilation)]
        padding = tuple(extent - padding for extent, padding in zip(reach, self.windows.padding))
        if self.windows.stride != (1, 1) or min(padding) < 0:
            return None
        windows = replace(self.windows, image=self.windows.count, padding=padding)
        other = replace(self, inputs=self.outputs, outputs=self.inputs, windows=windows)
        is_smaller = windows.is_pointwise or other.depth * other.pixels <= self.depth * self.pixels
        return other if is_smaller else None

    def add_columns(self, columns: Array, windows: Array) -> None:
        """Add up columns [g, depth, rows, ow, images] where they came from: in the windows of these rows."""
        positions = self.by_position(columns)
        if self.windows.are_tiles:
            np.copyto(windows, positions)
            return
        for row, column in self.windows.positions():
            pixels = windows[:, row, column]
            np.add(pixels, positions[:, row, column], out=pixels)

    def by_position(self, columns: Array) -> Array:
        """Columns [g, depth, rows, ow, images] as [ci, kh, kw, rows, ow, images]."""
        positions: Array = columns.reshape(self.inputs, *self.windows.kernel, *columns.shape[2:])
        return positions

    def input_gradient(
        self, dy: Array, w: Array, dx: Array, columns: Array, product: Array, padded: Array, weight: Array
    ) -> None:
        """The gradient dx of the images, from dy of the result."""
        if self.transposed is not None:
            _transpose_weight(w, self.groups, weight)
            self.transposed.convolve(dy, weight, dx, columns, product, padded)
        else:
            self.with_packing._add_up(dy, w, dx, columns, product, padded)

    def _add_up(self, dy: Array, w: Array, dx: Array, columns: Array, product: Array, padded: Array) -> None:
        """The columns of dx, added up where they came from."""
        by_position = w.reshape(self.groups, -1, self.depth).transpose(0, 2, 1)
        # A product of a column and a row is no work for BLAS, and np.matmul is slow at it.
        multiply = matmul if self.outputs > self.groups else np.multiply
        for images in self.image_blocks():
            total = _shortened(padded, 3, len(dx[images]))
            total.fill(0)
            windows = self.windows.view(total)
            for rows in self.row_blocks():
                outputs = self.outputs_of(dy[images], rows, product)
                part = _shortened(_shortened(columns, 4, total.shape[3]), 2, rows.stop - rows.start)
                multiply(by_position, outputs, self.as_matrices(part))
                self.add_columns(part, windows[:, :, :, rows])
            np.copyto(dx[images].transpose(1, 2, 3, 0), total[self.windows.inner()])

    def weight_gradient(
        self, dy: Array, x: Array, dw: Array, columns: Array, gradient: Array, padded: Array, product: Array
    ) -> None:
        """The gradient dw of the weight, from dy of the result."""
        share = product.reshape(self.groups, self.depth, -1)
        total = dw.reshape(self.groups, -1, *dw.shape[1:]).transpose(0, 2, 3, 4, 1)
        share.fill(0)
        for images in self.image_blocks():
            windows = self.windows_of(x[images], padded)
            for rows in self.row_blocks():
                pixels = self.pixels_of(dy[images], rows, gradient)
                add_matmul(self.columns_of(windows, rows, columns), pixels, share)
        np.copyto(total, share.reshape(total.shape))


def _transpose_weight(w: Array, groups: int, out: Array) -> None:
    """The weight [co, ci / g, kh, kw] with its channels exchanged within each group, and its positions reversed."""
    outputs, inputs, *kernel = w.shape
    grouped = w[:, :, ::-1, ::-1].reshape(groups, outputs // groups, inputs, *kernel)
    np.copyto(out.reshape(groups, inputs, outputs // groups, *kernel), grouped.swapaxes(1, 2))


def _even(length: int, wanted: int) -> int:
    """The size of the pieces when `length` is cut evenly into pieces of at most `wanted`, but at least one."""
    pieces = max(1, -(-length // max(1, wanted)))
    return max(1, -(-length // pieces))


def _stretches(length: int, size: int) -> Iterator[slice]:
    """Successive stretches of `size`, the last one shorter where they do not fit."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _shortened(scratch: Array, axis: int, count: int) -> Array:
    """The scratch array with `axis` shortened to `count`, contiguous: the last block may be smaller."""
    if scratch.shape[axis] == count:
        return scratch
    shape = (*scratch.shape[:axis], count, *scratch.shape[axis + 1 :])
    return scratch.reshape(-1)[: math.prod(shape)].reshape(shape)
