"""Pooling over windows of the last two axes, and its gradients."""

from __future__ import annotations

import math

import numpy as np

from ir.kernels.layout import in_order
from ir.kernels.planes import Planes
from ir.kernels.window import Pair, Windows
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.space import Space
from ir.types import DType, TensorType

MOST_AT_ONCE = 48
"""Operations on one element in one pass over a tile. More take several passes: chains of PCUs stay short."""


class Pooling(Op):
    """Windows over the last two axes; the leading axes are a batch."""

    kernel_size: Pair
    stride: Pair
    padding: Pair
    cost = Cost(CostClass.SIMD)
    whole = "windows that overlap share elements between tiles; those that do not are cut"

    def __post_init__(self) -> None:
        """Every element of an image takes one operation per window that it lies in: in a chain, or in several passes
        where that would be long."""
        windows = math.prod(-(-kernel // stride) for kernel, stride in zip(self.kernel_size, self.stride))
        passes = -(-windows // MOST_AT_ONCE)
        object.__setattr__(self, "cost", Cost(CostClass.SIMD, operations=-(-windows // passes), passes=passes))

    def windows(self, shape: Pair) -> Windows:
        """Where the windows lie on images of this shape. Raises ValueError where they do not fit."""
        if len(shape) < 2:
            raise ValueError(f"a tensor of shape {list(shape)} has no height and width")
        return Windows(shape[-2:], self.kernel_size, self.stride, self.padding, getattr(self, "dilation", (1, 1)))

    @limit
    def padding_is_small(self, *operands: TensorType) -> bool:
        "pooling pads by at most half its window, so that every window touches the image"
        return all(2 * padding <= kernel for padding, kernel in zip(self.padding, self.kernel_size))

    @limit
    def floats_only(self, *operands: TensorType) -> bool:
        "pooling takes floating-point tensors"
        return operands[0].dtype.is_float


class ForwardPooling(Pooling):
    """From images to one number per window."""

    def pooled(self, x: TensorType) -> TensorType:
        """The type of one number per window."""
        return x.with_shape((*x.shape[:-2], *self.windows(x.shape).count))

    def space(self, x: TensorType) -> Space:
        windows = self.windows(x.shape)
        results = self.results(x)
        pooled = ", ".join(["* oh ow"] * len(results))
        text = f"* {windows.sliding(0, 'oh', 'kh')} {windows.sliding(1, 'ow', 'kw')} -> {pooled}"
        return Space.parse(text, (x,), results, kh=self.kernel_size[0], kw=self.kernel_size[1])

    def flops(self, x: TensorType) -> int:
        return self.pooled(x).numel * math.prod(self.kernel_size)


class BackwardPooling(Pooling):
    """From one number per window to images of `input_shape`."""

    input_shape: Pair
    result_shape = "input_shape"

    def check(self, dy: TensorType) -> TensorType:
        """The type of the images. Raises ValueError where dy does not hold one number per window."""
        expected = (*self.input_shape[:-2], *self.windows(self.input_shape).count)
        if dy.shape != expected:
            raise ValueError(f"the gradient {dy} does not have the pooled shape {list(expected)}")
        return dy.with_shape(self.input_shape)

    def space(self, *operands: TensorType) -> Space:
        windows = self.windows(self.input_shape)
        (oh, h), (ow, w) = windows.gradient(0, "oh", "kh"), windows.gradient(1, "ow", "kw")
        text = f"{', '.join([f'* {oh} {ow}'] * len(operands))} -> * {h} {w}"
        return Space.parse(text, operands, self.results(*operands), kh=self.kernel_size[0], kw=self.kernel_size[1])

    def flops(self, dy: TensorType, *others: TensorType) -> int:
        return dy.numel * math.prod(self.kernel_size)


@op("max_pool2d")
class MaxPool2d(ForwardPooling):
    """The largest element of each window, and its position there, row by row: the first of equals."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    any_layout = True

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        pooled = self.pooled(x)
        return pooled, pooled.with_dtype(DType.I8)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        planes = Planes(self.windows(x.shape), x.shape)
        line = planes.line(x.dtype)
        position = line.with_dtype(DType.I8)
        return planes.lines(x.dtype), line, position, position

    def kernel(self, x: Array, y: Array, index: Array, *scratch: Array) -> None:
        planes = Planes(self.windows(x.shape), x.shape)
        if planes.largest_in_loops(x, y, index):
            return
        with in_order(y, index) as made:
            for images, largest, position in planes.blocks(x, *made):
                planes.largest(images, largest, position, *scratch)

    @limit
    def window_has_small_index(self, x: TensorType) -> bool:
        "max_pool2d takes windows of fewer than 128 elements"
        return math.prod(self.kernel_size) < 128


@op("max_pool2d_backward")
class MaxPool2dBackward(BackwardPooling):
    """Each window's gradient goes to the position its largest element had."""

    input_shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    any_layout = True

    def infer(self, dy: TensorType, index: TensorType) -> TensorType:
        if index.shape != dy.shape:
            raise ValueError(f"the gradient {dy} and the positions {index} differ in shape")
        return self.check(dy)

    def scratch(self, dy: TensorType, index: TensorType) -> tuple[TensorType, ...]:
        planes = Planes(self.windows(self.input_shape), self.input_shape)
        rows, columns = planes.windows.count
        place = TensorType(DType.I32, (3, planes.size, rows, 2 * columns))
        return place, TensorType(DType.F32, (planes.size, *planes.windows.padded))

    def kernel(self, dy: Array, index: Array, dx: Array, place: Array, padded: Array) -> None:
        planes = Planes(self.windows(dx.shape), dx.shape)
        if planes.scatter_in_loops(dy, index, dx):
            return
        places = place.view(np.int64).reshape(3, planes.size, -1)
        planes.first_pixels(places[2])
        with in_order(dx) as made:
            for share, position, images in planes.blocks(dy, index, *made):
                planes.scatter(share, position, images, places[:, : len(share)], padded)


class Averaging(Pooling):
    """Divides by the window's size, or without `count_include_pad` by the number of its pixels on the image."""

    count_include_pad: bool

    def divisor(self, windows: Windows) -> Array:
        """What to divide each window's sum by: [oh, ow], or one number for all."""
        if self.count_include_pad or not any(self.padding):
            return np.asarray(math.prod(self.kernel_size), np.float32)
        rows, columns = (self._on_image(windows, axis) for axis in (0, 1))
        return np.outer(rows, columns)

    def _on_image(self, windows: Windows, axis: int) -> Array:
        """How many positions of each window along one axis lie on the image."""
        start = np.arange(windows.count[axis], dtype=np.float32) * self.stride[axis] - self.padding[axis]
        stop = np.minimum(start + self.kernel_size[axis], windows.image[axis])
        inside: Array = stop - np.maximum(start, 0)
        return inside


@op("avg_pool2d")
class AvgPool2d(ForwardPooling, Averaging):
    """The mean of each window."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    count_include_pad: bool

    def infer(self, x: TensorType) -> TensorType:
        return self.pooled(x)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        planes = Planes(self.windows(x.shape), x.shape)
        return planes.lines(x.dtype), planes.line(x.dtype)

    def kernel(self, x: Array, y: Array, lines: Array, sums: Array) -> None:
        planes = Planes(self.windows(x.shape), x.shape)
        with in_order(y) as made:
            for images, total in planes.blocks(x, *made):
                if planes.windows.are_tiles:
                    planes.sum_tiles(images, total, sums)
                else:
                    planes.sum(images, total, lines, sums)
        np.divide(y, self.divisor(planes.windows), out=y)


@op("avg_pool2d_backward")
class AvgPool2dBackward(BackwardPooling, Averaging):
    """Each window's gradient is spread evenly over its pixels."""

    input_shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    count_include_pad: bool

    def infer(self, dy: TensorType) -> TensorType:
        return self.check(dy)

    def scratch(self, dy: TensorType) -> tuple[TensorType, ...]:
        planes = Planes(self.windows(self.input_shape), self.input_shape)
        return dy, planes.lines(dy.dtype), planes.line(dy.dtype)

    def kernel(self, dy: Array, dx: Array, share: Array, lines: Array, grid: Array) -> None:
        planes = Planes(self.windows(dx.shape), dx.shape)
        np.divide(dy, self.divisor(planes.windows), out=share)
        with in_order(dx) as made:
            for part, images in planes.blocks(share, *made):
                if planes.windows.are_tiles:
                    planes.repeat_in_tiles(part, images, grid)
                else:
                    planes.add(part, images, lines, grid)
