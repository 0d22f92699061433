"""Convolution and its two gradients as matrix products: the systolic array's work.

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
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from ir.op import Array, Cost, CostClass, Gemm, Op, limit, op
from ir.ops.depthwise import Depthwise
from ir.ops.layout import in_order
from ir.ops.window import Pair, Windows
from ir.space import Space
from ir.types import DType, TensorType

COLUMN_ELEMENTS = 1 << 18
"""Elements of a block's columns: 1 MiB, what a core's second-level cache holds."""

SMALL_PRODUCT = 1_000_000
"""Multiplications up to which OpenBLAS multiplies matrices where they are, without packing them first."""

MINIMUM_COLUMNS = 256
"""Columns below which a matrix product is dominated by calls, or by the packing of its other operand."""

RUN_ELEMENTS = 96
"""Elements that a copy should find side by side: rows of this many pixels are copied as they are, shorter ones with
as many images side by side."""


@dataclass(frozen=True)
class Geometry:
    """The sizes of one convolution and how it is blocked: for products without packing, unless `packs`."""

    images: int
    groups: int
    inputs: int
    outputs: int
    windows: Windows
    packs: bool = False

    @cached_property
    def depth(self) -> int:
        """Rows of the columns of one group: the length of the inner products."""
        return self.inputs // self.groups * math.prod(self.windows.kernel)

    @cached_property
    def pixels(self) -> int:
        """Output pixels of one image: its columns."""
        return math.prod(self.windows.count)

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
        return _even(self.images, images), _even(height, self.columns // (width * images))

    @cached_property
    def depthwise(self) -> Depthwise | None:
        """The same as a convolution of every channel by itself, where it is one."""
        if not self.groups == self.inputs == self.outputs:
            return None
        return Depthwise(self.images, self.groups, self.windows)

    @cached_property
    def column_bytes(self) -> int:
        """Bytes of all columns that are made."""
        if self.depthwise is not None or self.windows.is_pointwise:
            return 0
        return 4 * self.images * self.groups * self.depth * self.pixels

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

    def scratch(self) -> tuple[TensorType, TensorType, TensorType]:
        """One block's columns, its output pixels, and its input images with padding; images last."""
        images, rows = self.block
        pixels = (rows, self.windows.count[1], images)
        shapes = (
            (self.groups, self.depth, *pixels),
            (self.outputs, *pixels),
            (self.inputs, *self.windows.padded, images),
        )
        columns, outputs, inputs = (TensorType(DType.F32, shape) for shape in shapes)
        return columns, outputs, inputs

    def space(self, operands: str, result: str, operand_types: tuple[TensorType, ...], out: TensorType) -> Space:
        """The space written in terms of `ci` and `co`, which `groups` divides; a group's channels are never parted.

        Every other group reads other channels, so a tile of one operand's group is no tile of a smaller convolution.
        """
        kh, kw = self.windows.kernel
        text = f"{operands} -> {result}"
        if self.groups == 1:
            text = text.replace("(g! ci)", "ci").replace("(g! co)", "co")
        return Space.parse(text, operand_types, (out,), g=self.groups, kh=kh, kw=kw)

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

    def convolve(self, x: Array, weight: Array, y: Array, columns: Array, product: Array, padded: Array) -> None:
        """Images x convolved with a weight [g, co / g, depth] into y."""
        if self.windows.is_pointwise and y.flags.c_contiguous:
            shape = (self.images, self.groups, -1, self.pixels)
            np.matmul(weight, x.reshape(shape), out=y.reshape(shape))
            return
        for images in self.image_blocks():
            windows = self.windows_of(x[images], padded)
            for rows in self.row_blocks():
                made = y[images, :, rows].transpose(1, 2, 3, 0)
                outputs = _shortened(_shortened(product, 3, made.shape[3]), 1, made.shape[1])
                np.matmul(weight, self.columns_of(windows, rows, columns), out=self.as_matrices(outputs))
                np.copyto(made, outputs)

    @cached_property
    def with_packing(self) -> Geometry:
        """The same in larger blocks, for where the product is followed by many small additions."""
        return replace(self, packs=True)

    @cached_property
    def transposed(self) -> Geometry | None:
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


class Convolution(Op):
    """What the three have in common: attributes, checks and sizes."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    dtype: DType
    images_operand: ClassVar[int] = 0
    """The operand of which columns are made."""

    def column_bytes(self, *operands: TensorType) -> int:
        """Bytes of the columns that are made of the images on the way."""
        raise ValueError(f"operator {self.name} does not say what columns it makes")

    def geometry(self, x_shape: Pair, w_shape: Pair) -> Geometry:
        """The sizes for an image batch and a weight. Raises ValueError where they do not fit."""
        return _geometry(x_shape, w_shape, self.stride, self.padding, self.dilation, self.groups)

    def check_gradient(self, dy: TensorType, geometry: Geometry) -> None:
        """Raise ValueError where dy is not what the convolution of these sizes makes."""
        expected = (geometry.images, geometry.outputs, *geometry.windows.count)
        if dy.shape != expected:
            raise ValueError(f"the gradient {dy} does not have the convolution's shape {list(expected)}")

    @limit
    def floats_only(self, *operands: TensorType) -> bool:
        "convolution takes floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


@op("conv2d")
class Conv2d(Convolution):
    """Images x [n, ci, h, w] convolved with w [co, ci / groups, kh, kw] -> [n, co, oh, ow], delivered as `dtype`."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        sizes = self.geometry(x.shape, w.shape)
        return TensorType(self.dtype, (sizes.images, sizes.outputs, *sizes.windows.count))

    def space(self, x: TensorType, w: TensorType) -> Space:
        sizes = self.geometry(x.shape, w.shape)
        rows, columns = sizes.windows.sliding(0, "oh", "kh"), sizes.windows.sliding(1, "ow", "kw")
        operands = f"n (g! ci) {rows} {columns}, (g! co) ci kh! kw!"
        return sizes.space(operands, "n (g! co) oh ow", (x, w), self.infer(x, w))

    def column_bytes(self, x: TensorType, w: TensorType) -> int:
        return self.geometry(x.shape, w.shape).column_bytes

    def gemm(self, x: TensorType, w: TensorType) -> Gemm:
        sizes = self.geometry(x.shape, w.shape)
        return Gemm(sizes.groups, sizes.images * sizes.pixels, sizes.outputs // sizes.groups, sizes.depth)

    def scratch(self, x: TensorType, w: TensorType) -> tuple[TensorType, ...]:
        sizes = self.geometry(x.shape, w.shape)
        return (sizes.depthwise or sizes).scratch()

    def kernel(self, x: Array, w: Array, y: Array, columns: Array, product: Array, padded: Array) -> None:
        sizes = self.geometry(x.shape, w.shape)
        if sizes.depthwise is not None:
            sizes.depthwise.convolve(x, w, y, columns, product, padded)
            return
        sizes.convolve(x, w.reshape(sizes.groups, -1, sizes.depth), y, columns, product, padded)


@op("conv2d_input_gradient")
class Conv2dInputGradient(Convolution):
    """The gradient of a convolution's images, from that of its result and its weight."""

    input_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)

    def infer(self, dy: TensorType, w: TensorType) -> TensorType:
        self.check_gradient(dy, self.geometry(self.input_shape, w.shape))
        return TensorType(self.dtype, self.input_shape)

    def space(self, dy: TensorType, w: TensorType) -> Space:
        sizes = self.geometry(self.input_shape, w.shape)
        oh, h = sizes.windows.gradient(0, "oh", "kh")
        ow, w_axis = sizes.windows.gradient(1, "ow", "kw")
        operands = f"n (g! co) {oh} {ow}, (g! co) ci kh! kw!"
        return sizes.space(operands, f"n (g! ci) {h} {w_axis}", (dy, w), self.infer(dy, w))

    def column_bytes(self, dy: TensorType, w: TensorType) -> int:
        sizes = self.geometry(self.input_shape, w.shape)
        return (sizes.transposed or sizes).column_bytes

    def gemm(self, dy: TensorType, w: TensorType) -> Gemm:
        sizes = self.geometry(self.input_shape, w.shape)
        return Gemm(sizes.groups, sizes.images * sizes.pixels, sizes.depth, sizes.outputs // sizes.groups)

    def scratch(self, dy: TensorType, w: TensorType) -> tuple[TensorType, ...]:
        sizes = self.geometry(self.input_shape, w.shape)
        return *(sizes.depthwise or sizes.transposed or sizes.with_packing).scratch(), TensorType(DType.F32, w.shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, input_shape=result.shape)

    def kernel(
        self, dy: Array, w: Array, dx: Array, columns: Array, product: Array, padded: Array, weight: Array
    ) -> None:
        sizes = self.geometry(dx.shape, w.shape).with_packing
        transposed = self.geometry(dx.shape, w.shape).transposed
        if sizes.depthwise is not None:
            sizes.depthwise.input_gradient(dy, w, dx, columns, product, padded)
            return
        if transposed is not None:
            _transpose_weight(w, sizes.groups, weight)
            transposed.convolve(dy, weight.reshape(sizes.groups, -1, transposed.depth), dx, columns, product, padded)
            return
        by_position = w.reshape(sizes.groups, -1, sizes.depth).transpose(0, 2, 1)
        # A product of a column and a row is no work for BLAS, and np.matmul is slow at it.
        multiply = np.matmul if sizes.outputs > sizes.groups else np.multiply
        for images in sizes.image_blocks():
            total = _shortened(padded, 3, len(dx[images]))
            total.fill(0)
            windows = sizes.windows.view(total)
            for rows in sizes.row_blocks():
                outputs = sizes.outputs_of(dy[images], rows, product)
                part = _shortened(_shortened(columns, 4, total.shape[3]), 2, rows.stop - rows.start)
                multiply(by_position, outputs, out=sizes.as_matrices(part))
                sizes.add_columns(part, windows[:, :, :, rows])
            np.copyto(dx[images].transpose(1, 2, 3, 0), total[sizes.windows.inner()])


@op("conv2d_weight_gradient")
class Conv2dWeightGradient(Convolution):
    """The gradient of a convolution's weight, from that of its result and its images."""

    weight_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)
    images_operand = 1

    def infer(self, dy: TensorType, x: TensorType) -> TensorType:
        self.check_gradient(dy, self.geometry(x.shape, self.weight_shape))
        return TensorType(self.dtype, self.weight_shape)

    def space(self, dy: TensorType, x: TensorType) -> Space:
        sizes = self.geometry(x.shape, self.weight_shape)
        rows, columns = sizes.windows.sliding(0, "oh", "kh"), sizes.windows.sliding(1, "ow", "kw")
        operands = f"n (g! co) oh ow, n (g! ci) {rows} {columns}"
        return sizes.space(operands, "(g! co) ci kh! kw!", (dy, x), self.infer(dy, x))

    def column_bytes(self, dy: TensorType, x: TensorType) -> int:
        return self.geometry(x.shape, self.weight_shape).column_bytes

    def gemm(self, dy: TensorType, x: TensorType) -> Gemm:
        sizes = self.geometry(x.shape, self.weight_shape)
        return Gemm(sizes.groups, sizes.outputs // sizes.groups, sizes.depth, sizes.images * sizes.pixels)

    def scratch(self, dy: TensorType, x: TensorType) -> tuple[TensorType, ...]:
        sizes = self.geometry(x.shape, self.weight_shape)
        return *(sizes.depthwise or sizes).scratch(), TensorType(DType.F32, self.weight_shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, weight_shape=result.shape)

    def kernel(
        self, dy: Array, x: Array, dw: Array, columns: Array, gradient: Array, padded: Array, product: Array
    ) -> None:
        sizes = self.geometry(x.shape, dw.shape)
        if sizes.depthwise is not None:
            with in_order(dw) as (made,):
                sizes.depthwise.weight_gradient(dy, x, made, columns, gradient, padded)
            return
        share = product.reshape(sizes.groups, sizes.depth, -1)
        total = dw.reshape(sizes.groups, -1, *dw.shape[1:]).transpose(0, 2, 3, 4, 1)
        by_position = share.reshape(total.shape)
        dw.fill(0)
        for images in sizes.image_blocks():
            windows = sizes.windows_of(x[images], padded)
            for rows in sizes.row_blocks():
                pixels = sizes.pixels_of(dy[images], rows, gradient)
                np.matmul(sizes.columns_of(windows, rows, columns), pixels, out=share)
                np.add(total, by_position, out=total)


@lru_cache(maxsize=1024)
def _geometry(x_shape: Pair, w_shape: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    shapes = f"images {list(x_shape)} and weight {list(w_shape)}"
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ValueError(f"{shapes} are not [n, ci, h, w] and [co, ci, kh, kw]")
    if groups < 1 or x_shape[1] != w_shape[1] * groups or w_shape[0] % groups:
        raise ValueError(f"{shapes} do not fit each other in {groups} group(s) of channels")
    return Geometry(
        x_shape[0], groups, x_shape[1], w_shape[0], Windows(x_shape[2:], w_shape[2:], stride, padding, dilation)
    )


def _transpose_weight(w: Array, groups: int, out: Array) -> None:
    """The weight [co, ci / g, kh, kw] with its channels exchanged within each group, and its positions reversed."""
    outputs, inputs, *kernel = w.shape
    grouped = w[:, :, ::-1, ::-1].reshape(groups, outputs // groups, inputs, *kernel)
    np.copyto(out.reshape(groups, inputs, outputs // groups, *kernel), grouped.swapaxes(1, 2))


def _even(length: int, wanted: int) -> int:
    """The size of the pieces when `length` is cut evenly into pieces of at most `wanted`, but at least one."""
    pieces = -(-length // max(1, wanted))
    return -(-length // pieces)


def _stretches(length: int, size: int) -> Iterator[slice]:
    """Successive stretches of `size`, the last one shorter where they do not fit."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _shortened(scratch: Array, axis: int, count: int) -> Array:
    """The scratch array with `axis` shortened to `count`, contiguous: the last block may be smaller."""
    if scratch.shape[axis] == count:
        return scratch
    shape = (*scratch.shape[:axis], count, *scratch.shape[axis + 1 :])
    return scratch.reshape(-1)[: math.prod(shape)].reshape(shape)
