"""Pooling over windows that begin at places drawn at random: reading by index, and the largest of each window."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def fractional_max_pool(
    x: Tensor, kernel_size: list[int], output_size: list[int], samples: Tensor
) -> tuple[Tensor, Tensor]:
    """The largest element of each window of [(batch,) channels, ...], and its place in the image; of two images axes
    the last has the first of the samples, of three each has its own."""
    axes = len(kernel_size)
    is_single = x.dim() == axes + 1
    image = x.unsqueeze(0) if is_single else x
    order = [1, 0] if axes == 2 else [0, 1, 2]
    place = torch.zeros((), dtype=torch.int64, device=x.device)
    windows = image
    for axis, (window, out) in enumerate(zip(kernel_size, output_size)):
        extent = image.shape[2 + axis]
        starts = _starts(samples[..., order[axis]].expand(image.shape[:2]), extent, window, out)
        read = starts[:, :, :, None] + torch.arange(window, device=x.device)  # batch, channels, out, window
        read = read.reshape(*read.shape[:2], out * window)
        index = read.reshape(*read.shape[:2], *[1] * axis, -1).movedim(-1, 2 + axis)
        index = index.reshape(*read.shape[:2], *(out * window if i == axis else 1 for i in range(axes)))
        shape = [*windows.shape]
        shape[2 + axis] = out * window
        windows = windows.gather(2 + axis, index.expand(shape))
        place = place * extent + index
    apart = [extent for pair in zip(output_size, kernel_size) for extent in pair]
    together = [*range(2), *(2 + 2 * i for i in range(axes)), *(3 + 2 * i for i in range(axes))]

    def by_window(tensor: Tensor) -> Tensor:
        split = tensor.expand(windows.shape).reshape(*image.shape[:2], *apart).permute(together)
        return split.reshape(*image.shape[:2], *output_size, math.prod(kernel_size))

    largest, number = by_window(windows).max(-1)
    found = by_window(place).gather(-1, number[..., None])[..., 0]
    return (largest[0], found[0]) if is_single else (largest, found)


def _starts(sample: Tensor, extent: int, window: int, out: int) -> Tensor:
    """Where the windows along one axis begin, in whole numbers; the last one ends where the image does."""
    if out == 1:
        return torch.full((*sample.shape, 1), extent - window, dtype=torch.int64, device=sample.device)
    step = (extent - window) / (out - 1)
    number = torch.arange(out, device=sample.device).to(sample.dtype)
    first = ((number + sample[..., None]) * step).to(torch.int64) - (sample[..., None] * step).to(torch.int64)
    return torch.where(number == out - 1, extent - window, first)


FRACTIONAL: dict[Any, Callable[..., Any]] = dict.fromkeys(
    (aten.fractional_max_pool2d.default, aten.fractional_max_pool3d.default), fractional_max_pool
)
"""By ATen overload."""
