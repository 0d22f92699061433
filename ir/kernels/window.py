"""Geometry of windows that slide over the last two axes of an image: shared by convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import EllipsisType

from numpy.lib.stride_tricks import as_strided

from ir.op import Array

Pair = tuple[int, ...]
Region = tuple[EllipsisType, slice, slice]
"""An index of an array's last two axes."""


@dataclass(frozen=True)
class Windows:
    """Where windows lie on an image of extents `image`; every field holds a height and a width."""

    image: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        fields = (self.image, self.kernel, self.stride, self.padding, self.dilation)
        if any(len(field) != 2 for field in fields):
            raise ValueError("image, kernel, stride, padding and dilation each have a height and a width")
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise ValueError("kernel, stride and dilation are at least 1, padding at least 0")
        if min(self.count) < 1:
            raise ValueError(f"a window of {list(self.kernel)} does not fit an image of {list(self.image)}")

    @cached_property
    def count(self) -> Pair:
        """How many windows there are along each axis."""
        reach = [dilation * (kernel - 1) + 1 for kernel, dilation in zip(self.kernel, self.dilation)]
        room = [extent + 2 * padding for extent, padding in zip(self.image, self.padding)]
        return tuple((r - k) // stride + 1 for r, k, stride in zip(room, reach, self.stride))

    @property
    def padded(self) -> Pair:
        """The extents of the image with its padding."""
        return tuple(extent + 2 * padding for extent, padding in zip(self.image, self.padding))

    @cached_property
    def is_pointwise(self) -> bool:
        """Whether each window is one pixel of the image, and each pixel a window."""
        return self.kernel == (1, 1) and self.are_tiles

    def tiles(self, axis: int) -> bool:
        """Whether the windows along one axis lie side by side and cover the image exactly."""
        dense = self.dilation[axis] == 1 or self.kernel[axis] == 1
        side_by_side = self.stride[axis] == self.kernel[axis] and self.padding[axis] == 0
        return dense and side_by_side and self.image[axis] == self.count[axis] * self.kernel[axis]

    @cached_property
    def are_tiles(self) -> bool:
        """Whether the windows lie side by side and cover the image exactly, along both axes."""
        return self.tiles(0) and self.tiles(1)

    @cached_property
    def are_apart(self) -> bool:
        """Whether no two windows share a pixel."""
        reach = [dilation * (kernel - 1) + 1 for kernel, dilation in zip(self.kernel, self.dilation)]
        return all(stride >= extent for stride, extent in zip(self.stride, reach))

    def sliding(self, axis: int, result: str, kernel: str) -> str:
        """The image's axis in an iteration space: a product of dims where windows tile it, else a window."""
        return f"({result} {kernel}!)" if self.tiles(axis) else f"{result}~{kernel}!"

    def gradient(self, axis: int, result: str, kernel: str) -> tuple[str, str]:
        """The axes of the result's and of the image's gradient in the space that computes the latter."""
        return (result, f"({result} {kernel}!)") if self.tiles(axis) else (f"{result}!", f"{result}{kernel}!")

    def positions(self) -> list[tuple[int, int]]:
        """Every position within the window, row by row."""
        height, width = self.kernel
        return [(row, column) for row in range(height) for column in range(width)]

    def touched(self, position: tuple[int, int]) -> tuple[Region, Region]:
        """The windows whose `position` lies on the image, and the pixels it lies on."""
        row, column = (self._touched(axis, offset) for axis, offset in enumerate(position))
        return (..., row[0], column[0]), (..., row[1], column[1])

    def _touched(self, axis: int, offset: int) -> tuple[slice, slice]:
        stride, start = self.stride[axis], offset * self.dilation[axis] - self.padding[axis]
        first = max(0, -(start // stride))
        last = min(self.count[axis], (self.image[axis] - 1 - start) // stride + 1)
        if last <= first:
            return slice(0, 0), slice(0, 0)
        pixel = first * stride + start
        return slice(first, last), slice(pixel, pixel + (last - first - 1) * stride + 1, stride)

    def view(self, padded: Array) -> Array:
        """The windows of padded images [c, h, w, n] as a view [c, kh, kw, oh, ow, n]."""
        channel, row, column, image = padded.strides
        shape = (padded.shape[0], *self.kernel, *self.count, padded.shape[3])
        within = (row * self.dilation[0], column * self.dilation[1])
        between = (row * self.stride[0], column * self.stride[1])
        return as_strided(padded, shape, (channel, *within, *between, image))

    def inner(self) -> tuple[slice, slice, slice]:
        """The image within padded images [c, h, w, n]."""
        row, column = (slice(padding, padding + extent) for padding, extent in zip(self.padding, self.image))
        return slice(None), row, column
