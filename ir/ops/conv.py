"""Convolution and its two gradients as matrix products: the systolic array's work.

With the columns of an image the matrix [ci * kh * kw, oh * ow] whose column is the window of one output pixel:

    y       = w @ columns(x)              columns copied out of the image
    dx      = image(w^T @ dy)             columns added back into the image; or, where that is less work,
              w' @ columns(dy)            w' being the weight with its channels exchanged and its positions reversed
    dw      = dy @ columns(x)^T

Images are taken in blocks of enough columns to keep the product busy, few enough to stay in cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ir.op import Array, Cost, CostClass, Gemm, Op, limit, op
from ir.ops.window import Pair, Windows
from ir.space import Space
from ir.types import DType, TensorType

COLUMN_ELEMENTS = 1 << 18
"""Elements of a block's columns: 1 MiB, what a core's second-level cache holds."""

MINIMUM_COLUMNS = 256
"""Columns below which a matrix product is dominated by the packing of its other operand."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of one convolution and how its images are blocked."""

    images: int
    groups: int
    inputs: int
    outputs: int
    windows: Windows

    @property
    def depth(self) -> int:
        """Rows of the columns of one group: the length of the inner products."""
        return self.inputs // self.groups * math.prod(self.windows.kernel)

    @property
    def pixels(self) -> int:
        """Output pixels of one image: its columns."""
        return math.prod(self.windows.count)

    @property
    def block(self) -> int:
        """Images whose columns are multiplied at once."""
        columns = max(MINIMUM_COLUMNS, COLUMN_ELEMENTS // (self.depth * self.groups))
        return max(1, min(self.images, columns // self.pixels))

    @property
    def is_padded(self) -> bool:
        """Whether windows reach beyond the image."""
        return any(self.windows.padding)

    def blocks(self) -> Iterator[slice]:
        """The images of each block."""
        return (slice(start, min(start + self.block, self.images)) for start in range(0, self.images, self.block))

    def scratch(self) -> tuple[TensorType, TensorType, TensorType]:
        """One block's columns, its output images channel first, and its input images channel first with padding."""
        columns = (self.groups, self.depth, self.block, *self.windows.count)
        outputs = (self.outputs, self.block, *self.windows.count)
        padded = (self.inputs, self.block if self.is_padded else 0, *self.windows.padded)
        return TensorType(DType.F32, columns), TensorType(DType.F32, outputs), TensorType(DType.F32, padded)

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
        """A block's columns or output images as a matrix of channels (and positions) by pixels for each group."""
        matrices: Array = array.reshape(self.groups, -1, math.prod(array.shape[-3:]))
        return matrices

    def in_place(self, images: Array) -> Array | None:
        """A block of one image as such matrices without a copy, or None where it has more or its layout forbids."""
        if len(images) > 1:
            return None
        matrices = self.as_matrices(images.transpose(1, 0, 2, 3))
        return matrices if np.may_share_memory(matrices, images) else None

    def columns_of(self, x: Array, columns: Array, padded: Array) -> Array:
        """The columns of a block of images x, as matrices."""
        images = self.in_place(x) if self.windows.is_pointwise else None
        if images is not None:
            return images
        source = x.transpose(1, 0, 2, 3)
        if self.is_padded:
            padded = _first(padded, 1, len(x))
            padded.fill(0)
            padded[self.windows.inner()] = source
            source = padded
        columns = _first(columns, 2, len(x))
        np.copyto(self.by_position(columns), self.windows.view(source))
        return self.as_matrices(columns)

    def outputs_of(self, y: Array, outputs: Array) -> Array:
        """A block of output images y, as matrices."""
        images = self.in_place(y)
        if images is not None:
            return images
        outputs = _first(outputs, 1, len(y))
        outputs[...] = y.transpose(1, 0, 2, 3)
        return self.as_matrices(outputs)

    def convolve(self, x: Array, weight: Array, y: Array, columns: Array, product: Array, padded: Array) -> None:
        """Images x convolved with a weight [g, co / g, depth] into y, block by block."""
        for images in self.blocks():
            made = y[images]
            windows = self.columns_of(x[images], columns, padded)
            in_place = self.in_place(made)
            if in_place is not None:
                np.matmul(weight, windows, out=in_place)
            else:
                outputs = _first(product, 1, len(made))
                np.matmul(weight, windows, out=self.as_matrices(outputs))
                made.transpose(1, 0, 2, 3)[...] = outputs

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
        return other if other.depth * other.pixels <= self.depth * self.pixels else None

    def add_columns(self, columns: Array, dx: Array, padded: Array) -> None:
        """Add up columns [g, depth, images, oh, ow] where they came from, in a block of images dx."""
        target = dx.transpose(1, 0, 2, 3)
        if self.windows.tiles(0) and self.windows.tiles(1):
            np.copyto(self.windows.view(target), self.by_position(columns))
            return
        total = _first(padded, 1, len(dx)) if self.is_padded else target
        total.fill(0)
        positions = self.by_position(columns)
        for row, column in self.windows.positions():
            pixels = total[self.windows.on_padded((row, column))]
            np.add(pixels, positions[:, row, column], out=pixels)
        if self.is_padded:
            target[...] = total[self.windows.inner()]

    def by_position(self, columns: Array) -> Array:
        """Columns [g, depth, images, oh, ow] as [ci, kh, kw, images, oh, ow]."""
        positions: Array = columns.reshape(self.inputs, *self.windows.kernel, *columns.shape[2:])
        return positions


class Convolution(Op):
    """What the three have in common: attributes, checks and sizes."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    dtype: DType

    def geometry(self, x_shape: Pair, w_shape: Pair) -> Geometry:
        """The sizes for an image batch and a weight. Raises ValueError where they do not fit."""
        shapes = f"images {list(x_shape)} and weight {list(w_shape)}"
        if len(x_shape) != 4 or len(w_shape) != 4:
            raise ValueError(f"{shapes} are not [n, ci, h, w] and [co, ci, kh, kw]")
        if self.groups < 1 or x_shape[1] != w_shape[1] * self.groups or w_shape[0] % self.groups:
            raise ValueError(f"{shapes} do not fit each other in {self.groups} group(s) of channels")
        windows = Windows(x_shape[2:], w_shape[2:], self.stride, self.padding, self.dilation)
        return Geometry(x_shape[0], self.groups, x_shape[1], w_shape[0], windows)

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

    def gemm(self, x: TensorType, w: TensorType) -> Gemm:
        sizes = self.geometry(x.shape, w.shape)
        return Gemm(sizes.groups, sizes.images * sizes.pixels, sizes.outputs // sizes.groups, sizes.depth)

    def scratch(self, x: TensorType, w: TensorType) -> tuple[TensorType, ...]:
        return self.geometry(x.shape, w.shape).scratch()

    def kernel(self, x: Array, w: Array, y: Array, columns: Array, product: Array, padded: Array) -> None:
        sizes = self.geometry(x.shape, w.shape)
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

    def gemm(self, dy: TensorType, w: TensorType) -> Gemm:
        sizes = self.geometry(self.input_shape, w.shape)
        return Gemm(sizes.groups, sizes.images * sizes.pixels, sizes.depth, sizes.outputs // sizes.groups)

    def scratch(self, dy: TensorType, w: TensorType) -> tuple[TensorType, ...]:
        sizes = self.geometry(self.input_shape, w.shape)
        return *(sizes.transposed() or sizes).scratch(), TensorType(DType.F32, w.shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, input_shape=result.shape)

    def kernel(
        self, dy: Array, w: Array, dx: Array, columns: Array, product: Array, padded: Array, weight: Array
    ) -> None:
        sizes = self.geometry(dx.shape, w.shape)
        transposed = sizes.transposed()
        if transposed is not None:
            _transpose_weight(w, sizes.groups, weight)
            transposed.convolve(dy, weight.reshape(sizes.groups, -1, transposed.depth), dx, columns, product, padded)
            return
        by_position = w.reshape(sizes.groups, -1, sizes.depth).transpose(0, 2, 1)
        # A product of a column and a row is no work for BLAS, and np.matmul is slow at it.
        multiply = np.matmul if sizes.outputs > sizes.groups else np.multiply
        for images in sizes.blocks():
            outputs = sizes.outputs_of(dy[images], product)
            part = _first(columns, 2, len(dx[images]))
            multiply(by_position, outputs, out=sizes.as_matrices(part))
            sizes.add_columns(part, dx[images], padded)


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

    def infer(self, dy: TensorType, x: TensorType) -> TensorType:
        self.check_gradient(dy, self.geometry(x.shape, self.weight_shape))
        return TensorType(self.dtype, self.weight_shape)

    def space(self, dy: TensorType, x: TensorType) -> Space:
        sizes = self.geometry(x.shape, self.weight_shape)
        rows, columns = sizes.windows.sliding(0, "oh", "kh"), sizes.windows.sliding(1, "ow", "kw")
        operands = f"n (g! co) oh ow, n (g! ci) {rows} {columns}"
        return sizes.space(operands, "(g! co) ci kh! kw!", (dy, x), self.infer(dy, x))

    def gemm(self, dy: TensorType, x: TensorType) -> Gemm:
        sizes = self.geometry(x.shape, self.weight_shape)
        return Gemm(sizes.groups, sizes.outputs // sizes.groups, sizes.depth, sizes.images * sizes.pixels)

    def scratch(self, dy: TensorType, x: TensorType) -> tuple[TensorType, ...]:
        return *self.geometry(x.shape, self.weight_shape).scratch(), TensorType(DType.F32, self.weight_shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, weight_shape=result.shape)

    def kernel(
        self, dy: Array, x: Array, dw: Array, columns: Array, gradient: Array, padded: Array, product: Array
    ) -> None:
        sizes = self.geometry(x.shape, dw.shape)
        share = product.reshape(sizes.groups, -1, sizes.depth)
        dw.fill(0)
        for images in sizes.blocks():
            outputs = sizes.outputs_of(dy[images], gradient)
            windows = sizes.columns_of(x[images], columns, padded)
            np.matmul(outputs, windows.transpose(0, 2, 1), out=share)
            np.add(dw, product, out=dw)


def _transpose_weight(w: Array, groups: int, out: Array) -> None:
    """The weight [co, ci / g, kh, kw] with its channels exchanged within each group, and its positions reversed."""
    outputs, inputs, *kernel = w.shape
    grouped = w[:, :, ::-1, ::-1].reshape(groups, outputs // groups, inputs, *kernel)
    np.copyto(out.reshape(groups, inputs, outputs // groups, *kernel), grouped.swapaxes(1, 2))


def _first(scratch: Array, axis: int, count: int) -> Array:
    """The scratch array with `axis` shortened to `count`, contiguous: the last block may hold fewer images."""
    shape = (*scratch.shape[:axis], count, *scratch.shape[axis + 1 :])
    return scratch.reshape(-1)[: math.prod(shape)].reshape(shape)
