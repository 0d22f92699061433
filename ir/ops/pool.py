"""Pooling over windows of the last two axes, and its gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.mask import keep
from ir.ops.window import Pair, Windows
from ir.space import Space
from ir.types import DType, TensorType


class Pooling(Op):
    """Windows over the last two axes; the leading axes are a batch."""

    kernel_size: Pair
    stride: Pair
    padding: Pair
    cost = Cost(CostClass.SIMD)

    def __post_init__(self) -> None:
        """Every result element takes one operation per position of its window."""
        object.__setattr__(self, "cost", Cost(CostClass.SIMD, operations=math.prod(self.kernel_size)))

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
        return self.pooled(x).numel * self.cost.operations


class BackwardPooling(Pooling):
    """From one number per window to images of `input_shape`."""

    input_shape: Pair

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

    def retyped(self, result: TensorType) -> Op:
        return replace(self, input_shape=result.shape)  # type: ignore[type-var]

    def flops(self, dy: TensorType, *others: TensorType) -> int:
        return dy.numel * self.cost.operations


@op("max_pool2d")
class MaxPool2d(ForwardPooling):
    """The largest element of each window, and its position there, row by row: the first of equals."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        pooled = self.pooled(x)
        return pooled, pooled.with_dtype(DType.I8)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        rows = x.with_shape((*x.shape[:-1], self.pooled(x).shape[-1]))
        indices = rows.with_dtype(DType.I8)
        return rows, rows, indices, indices, rows.with_dtype(DType.BOOL)

    def kernel(self, x: Array, y: Array, index: Array, *scratch: Array) -> None:
        windows = self.windows(x.shape)
        if windows.tiles(0) and windows.tiles(1):
            _largest_of_tiles(windows.kernel, x, y, index, *scratch)
        else:
            flags = (array.view(np.bool_).reshape(-1)[: y.size].reshape(y.shape) for array in scratch[-2:])
            _largest_of_windows(windows, x, y, index, *flags)

    @limit
    def window_has_small_index(self, x: TensorType) -> bool:
        "max_pool2d takes windows of fewer than 128 elements"
        return math.prod(self.kernel_size) < 128


def _largest_of_tiles(
    kernel: Pair,
    x: Array,
    y: Array,
    index: Array,
    row_largest: Array,
    largest: Array,
    row_index: Array,
    first: Array,
    flags: Array,
) -> None:
    """max_pool2d for windows side by side: along rows, then over the rows of each window, keeping the first of equals.

    The second step takes the rows below every row, also of those that begin no window: arrays without gaps are worth
    more to NumPy than half the work.
    """
    height, width = kernel
    np.copyto(row_largest, x[..., ::width])
    row_index.fill(0)
    candidate = largest
    for column in range(1, width):
        np.copyto(candidate, x[..., column::width])  # NumPy copies elements apart much faster than it compares them
        np.greater(candidate, row_largest, out=flags)
        np.maximum(row_largest, candidate, out=row_largest)
        # A larger element has a higher position than all before it, so the highest one so far is its.
        np.multiply(flags.view(np.int8), np.int8(column), out=flags.view(np.int8))
        np.maximum(row_index, flags.view(np.int8), out=row_index)
    np.copyto(largest, row_largest)
    np.copyto(first, row_index)
    below = row_largest.reshape(-1), row_index.reshape(-1)
    for row in range(1, height):
        count, shift = row_largest.size - row * y.shape[-1], row * y.shape[-1]
        greater, so_far, index_so_far = (array.reshape(-1)[:count] for array in (flags, largest, first))
        np.greater(below[0][shift:], so_far, out=greater)
        np.maximum(so_far, below[0][shift:], out=so_far)
        np.add(row_index, np.int8(width), out=row_index)
        np.multiply(greater.view(np.int8), below[1][shift:], out=greater.view(np.int8))
        np.maximum(index_so_far, greater.view(np.int8), out=index_so_far)
    np.copyto(y, largest[..., ::height, :])
    np.copyto(index, first[..., ::height, :])


def _largest_of_windows(windows: Windows, x: Array, y: Array, index: Array, ahead: Array, differs: Array) -> None:
    """max_pool2d for windows of any kind: the largest elements, then for each the number of positions ahead of it."""
    y.fill(-np.inf)
    for position in windows.positions():
        touching, pixels = windows.touched(position)
        largest = y[touching]
        np.maximum(largest, x[pixels], out=largest)
    ahead.fill(True)
    index.fill(0)
    for position in windows.positions()[:-1]:
        touching, pixels = windows.touched(position)
        part, still = differs[touching], ahead[touching]
        np.not_equal(x[pixels], y[touching], out=part)
        np.logical_and(still, part, out=still)
        np.add(index, ahead.view(np.int8), out=index)


@op("max_pool2d_backward")
class MaxPool2dBackward(BackwardPooling):
    """Each window's gradient goes to the position its largest element had."""

    input_shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def infer(self, dy: TensorType, index: TensorType) -> TensorType:
        if index.shape != dy.shape:
            raise ValueError(f"the gradient {dy} and the positions {index} differ in shape")
        return self.check(dy)

    def scratch(self, dy: TensorType, index: TensorType) -> tuple[TensorType, ...]:
        return dy, dy.with_dtype(DType.BOOL)

    def kernel(self, dy: Array, index: Array, dx: Array, share: Array, here: Array) -> None:
        windows = self.windows(dx.shape)
        tiled = windows.tiles(0) and windows.tiles(1)
        if not tiled:
            dx.fill(0)
        for number, position in enumerate(windows.positions()):
            touching, pixels = windows.touched(position)
            np.equal(index, np.int8(number), out=here)
            keep(here, dy, share)
            target = dx[pixels]
            if tiled:
                np.copyto(target, share)
            else:
                np.add(target, share[touching], out=target)


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

    def kernel(self, x: Array, y: Array) -> None:
        windows = self.windows(x.shape)
        if windows.kernel == windows.image and not any(self.padding):
            np.add.reduce(x, axis=(-2, -1), keepdims=True, out=y)
        else:
            y.fill(0)
            for position in windows.positions():
                touching, pixels = windows.touched(position)
                total = y[touching]
                np.add(total, x[pixels], out=total)
        np.divide(y, self.divisor(windows), out=y)


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
        return (dy,)

    def kernel(self, dy: Array, dx: Array, share: Array) -> None:
        windows = self.windows(dx.shape)
        np.divide(dy, self.divisor(windows), out=share)
        dx.fill(0)
        for position in windows.positions():
            touching, pixels = windows.touched(position)
            target = dx[pixels]
            np.add(target, share[touching], out=target)
