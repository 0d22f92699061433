"""Pooling that no single operator of the device does, as index arithmetic that PyTorch differentiates.

Per axis, `_Windows` says which elements each window holds: those that lie beyond the tensor are left out. Windows are
read by index, so an axis of n elements becomes one of windows and one within them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
POSITIONS = 127
"""Largest window whose positions the device's own maximum pooling can tell apart."""


@dataclass(frozen=True)
class _Windows:
    """The windows along one axis: [windows, positions] of indices, whether each exists, and how many count."""

    index: Tensor
    exists: Tensor
    count: Tensor

    @staticmethod
    def sliding(extent: int, size: int, stride: int, padding: int, dilation: int, ceil: bool, padded: bool) -> _Windows:
        """Windows every `stride` elements. With `padded`, elements of the padding count too."""
        windows = output_extent(extent, size, stride, padding, dilation, ceil)
        start = torch.arange(windows) * stride - padding
        index = start[:, None] + torch.arange(size) * dilation
        exists = (index >= 0) & (index < extent)
        end = torch.clamp(start + size, max=extent + padding)
        count = end - start if padded else exists.sum(1)
        return _Windows(index.clamp(0, extent - 1), exists, count)

    @staticmethod
    def adaptive(extent: int, windows: int) -> _Windows:
        """Windows that cover the axis as evenly as can be."""
        numbers = torch.arange(windows)
        start, end = numbers * extent // windows, ((numbers + 1) * extent + windows - 1) // windows
        size = max(-(-(i + 1) * extent // windows) - i * extent // windows for i in range(windows)) if windows else 1
        index = start[:, None] + torch.arange(size)
        return _Windows(index.clamp(max=extent - 1), index < end[:, None], end - start)

    def read(self, x: Tensor, dim: int) -> Tensor:
        """The axis `dim` as one of windows and one of positions within them."""
        return x.index_select(dim, self.index.reshape(-1)).unflatten(dim, tuple(self.index.shape))

    def among(self, flags: Tensor, rank: int, dim: int) -> Tensor:
        """[windows, positions] shaped to broadcast with a tensor of `rank` axes that were read along `dim`."""
        return flags.reshape(*[1] * dim, *flags.shape, *[1] * (rank - dim - 2))


def output_extent(extent: int, size: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """How many windows there are; with `ceil` also one that begins on the tensor but does not fit it."""
    room = extent + 2 * padding - dilation * (size - 1) - 1
    windows = (-(-room // stride) if ceil else room // stride) + 1
    return windows - 1 if ceil and (windows - 1) * stride >= extent + padding else windows


def _without_ceil(
    extents: Sequence[int], size: list[int], step: list[int], pad: list[int], gap: list[int]
) -> tuple[list[int], list[int]] | None:
    """Sizes and strides of windows that are the same without `ceil_mode`: it adds none, or the only one reaches beyond
    the tensor, and is as large as that. None where there are none."""
    sizes, strides = [], []
    for extent, length, stride, padding, dilation in zip(extents, size, step, pad, gap):
        if padding == 0 and dilation == 1 and output_extent(extent, length, stride, 0, 1, True) == 1:
            length = min(length, extent)
            stride = length  # of a single window any stride will do, and tiles are the cheapest
        window = extent, length, stride, padding, dilation
        if output_extent(*window, True) != output_extent(*window, False):
            return None
        sizes.append(length)
        strides.append(stride)
    return sizes, strides


def _average(x: Tensor, windows: Sequence[_Windows], divisor: int | None = None) -> Tensor:
    """The sum of each window over the last axes, one axis after another, by how many elements count in it."""
    count = torch.ones((), dtype=torch.int64 if not x.is_floating_point() else x.dtype)
    for number, along in enumerate(windows):
        dim = x.dim() - len(windows) + number
        read = along.read(x, dim)
        x = torch.where(along.among(along.exists, read.dim(), dim), read, 0).sum(dim + 1)
        count = count.unsqueeze(-1) * along.count
    shared = count if divisor is None else divisor
    return x / shared if x.is_floating_point() else torch.div(x, shared, rounding_mode="trunc")


def _largest(x: Tensor, windows: Sequence[_Windows]) -> tuple[Tensor, Tensor]:
    """The largest element of each window over the last axes, and its place in all of them."""
    count, first = len(windows), x.dim() - len(windows)
    extents = x.shape[first:]
    place = torch.zeros((), dtype=torch.int64)
    for number, along in enumerate(windows):
        dim = first + 2 * number
        x = along.read(x, dim)
        x = torch.where(along.among(along.exists, x.dim(), dim), x, _lowest(x.dtype))
        index = along.among(along.index * math.prod(extents[number + 1 :]), 2 * count, 2 * number)
        place = place + index
    spread = x.movedim([first + 2 * i + 1 for i in range(count)], list(range(-count, 0))).flatten(-count)
    table = place.movedim([2 * i + 1 for i in range(count)], list(range(-count, 0))).flatten(-count)
    values, chosen = spread.max(-1)
    return values, table.expand(spread.shape).gather(-1, chosen.unsqueeze(-1)).squeeze(-1)


def _lowest(dtype: torch.dtype) -> float:
    return -math.inf if dtype.is_floating_point else torch.iinfo(torch.int32).min


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    """One number for each axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _average_pool(axes: int, own: Callable[..., Tensor]) -> Callable[..., Any]:
    """Average pooling over the last axes: what PyTorch computes by `own` where it does no more than average."""

    def pool(
        x: Tensor,
        kernel: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        sizes, steps, pads = _each(kernel, axes), _each(stride or kernel, axes), _each(padding, axes)
        if ceil_mode and (fitting := _without_ceil(x.shape[-axes:], sizes, steps, pads, [1] * axes)):
            (sizes, steps), ceil_mode = fitting, False
        if x.is_floating_point() and not ceil_mode and divisor_override is None:
            return own(x, sizes, steps, pads, False, count_include_pad)
        windows = [
            _Windows.sliding(extent, size, step, pad, 1, ceil_mode, count_include_pad)
            for extent, size, step, pad in zip(x.shape[-axes:], sizes, steps, pads)
        ]
        return _average(x, windows, divisor_override)

    return pool


def _average_of_volumes(
    x: Tensor, size: list[int], step: list[int], pad: list[int], ceil_mode: bool, count_include_pad: bool
) -> Tensor:
    """The mean over height and width, then over depth."""
    flat = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
    flat = aten.avg_pool2d(flat, size[1:], step[1:], pad[1:], ceil_mode, count_include_pad)
    rows, columns = flat.shape[-2:]
    deep = aten.avg_pool2d(
        flat.flatten(-2).unsqueeze(1), [size[0], 1], [step[0], 1], [pad[0], 0], ceil_mode, count_include_pad
    )
    return deep.reshape(*x.shape[:-3], deep.shape[-2], rows, columns)


def _max_pool(axes: int, indices: bool) -> Callable[..., Any]:
    def pool(
        x: Tensor,
        kernel: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        size, step, pad = _each(kernel, axes), _each(stride or kernel, axes), _each(padding, axes)
        gap = _each(dilation, axes)
        if ceil_mode and (fitting := _without_ceil(x.shape[-axes:], size, step, pad, gap)):
            (size, step), ceil_mode = fitting, False
        if not indices and not ceil_mode and x.is_floating_point() and math.prod(size[-2:]) <= POSITIONS:
            return _device_max_pool(x, size, step, pad, gap)
        windows = [_Windows.sliding(*sizes, ceil_mode, False) for sizes in zip(x.shape[-axes:], size, step, pad, gap)]
        values, places = _largest(x, windows)
        return (values, places) if indices else values

    return pool


def _device_max_pool(x: Tensor, size: list[int], step: list[int], pad: list[int], gap: list[int]) -> Tensor:
    """Over the last two axes, and then over the one before: the first largest element stays the first."""
    axes = len(size)
    if axes == 1:
        flat = x.reshape(math.prod(x.shape[:-1]), 1, 1, x.shape[-1])
        pooled = aten.max_pool2d(flat, [1, *size], [1, *step], [0, *pad], [1, *gap])
        return pooled.reshape(*x.shape[:-1], pooled.shape[-1])
    if axes == 2:
        return aten.max_pool2d(x, size, step, pad, gap)
    flat = aten.max_pool2d(x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:]), size[1:], step[1:], pad[1:], gap[1:])
    rows, columns = flat.shape[-2:]
    deep = aten.max_pool2d(flat.flatten(-2).unsqueeze(1), [size[0], 1], [step[0], 1], [pad[0], 0], [gap[0], 1])
    return deep.reshape(*x.shape[:-3], deep.shape[-2], rows, columns)


def _adaptive_average(axes: int) -> Callable[..., Any]:
    def pool(x: Tensor, size: Sequence[int]) -> Tensor:
        if all(wanted == 1 for wanted in size) and x.is_floating_point() and x.numel():
            return x.mean(list(range(-axes, 0)), keepdim=True)
        if axes == 2 and _parts(x, size):
            return aten._adaptive_avg_pool2d(x, list(size))
        return _average(x, [_Windows.adaptive(*pair) for pair in zip(x.shape[-axes:], size)])

    return pool


def _adaptive_largest(axes: int) -> Callable[..., Any]:
    def pool(x: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        values, places = _largest(x, [_Windows.adaptive(*pair) for pair in zip(x.shape[-axes:], size)])
        parts = _parts(x, size)
        if axes == 2 and parts and x.is_floating_point() and max(parts) <= POSITIONS:
            values = _largest_of_parts(x, parts)
        return values, places

    return pool


def _parts(x: Tensor, size: Sequence[int]) -> list[int]:
    """The extents of equal windows side by side, `size` of which cover the last axes; none where they are not equal."""
    extents = x.shape[-len(size) :]
    divides = all(wanted and extent % wanted == 0 for extent, wanted in zip(extents, size))
    return [extent // wanted for extent, wanted in zip(extents, size)] if divides else []


def _largest_of_parts(x: Tensor, size: list[int]) -> Tensor:
    """The largest of each window: of a large one the largest of each row, and then of these, so that the gradient goes
    to the first of equal ones."""
    largest = x
    for part in [size] if math.prod(size) <= POSITIONS else [[1, size[1]], [size[0], 1]]:
        largest = aten.max_pool2d(largest, part, part)
    return largest


POOLING: dict[Any, Callable[..., Any]] = {
    aten.avg_pool1d.default: _average_pool(1, aten.avg_pool1d),
    aten.avg_pool2d.default: _average_pool(2, aten.avg_pool2d),
    aten.avg_pool3d.default: _average_pool(3, _average_of_volumes),
    aten.max_pool1d.default: _max_pool(1, indices=False),
    aten.max_pool2d.default: _max_pool(2, indices=False),
    aten.max_pool3d.default: _max_pool(3, indices=False),
    aten.max_pool1d_with_indices.default: _max_pool(1, indices=True),
    aten.max_pool2d_with_indices.default: _max_pool(2, indices=True),
    aten.max_pool3d_with_indices.default: _max_pool(3, indices=True),
    aten.adaptive_avg_pool1d.default: _adaptive_average(1),
    aten.adaptive_avg_pool2d.default: _adaptive_average(2),
    aten.adaptive_avg_pool3d.default: _adaptive_average(3),
    aten._adaptive_avg_pool3d.default: _adaptive_average(3),
    aten.adaptive_max_pool1d.default: _adaptive_largest(1),
    aten.adaptive_max_pool2d.default: _adaptive_largest(2),
    aten.adaptive_max_pool3d.default: _adaptive_largest(3),
}
"""By ATen overload."""
