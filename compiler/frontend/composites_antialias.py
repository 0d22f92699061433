"""Resizing without aliasing: every result is a weighted mean of the elements around its place, along one axis after
the other. The weights depend on the extents alone, so each axis is a product with a constant matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
CUBIC = -0.5
"""The slope of the cubic filter at one."""


def triangle(x: Tensor) -> Tensor:
    """One at zero, falling to zero at one."""
    return (1 - x.abs()).clamp(min=0)


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic filter, zero from two on."""
    x = x.abs()
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = CUBIC * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def resized(
    reach: int,
    filter: Callable[[Tensor], Tensor],
    x: Tensor,
    size: list[int] | None,
    align_corners: bool,
    scales: list[float] | None,
) -> Tensor:
    """An image [batch, channels, height, width] in another size; `reach` is how far the filter goes on either side."""
    wanted = list(size) if size is not None else [int(e * s) for e, s in zip(x.shape[2:], scales or [])]
    for axis in (3, 2):
        scale = scales[axis - 2] if scales else None
        weights = _weights(reach, filter, x.shape[axis], wanted[axis - 2], align_corners, scale).to(x.device, x.dtype)
        x = x @ weights.T if axis == 3 else weights @ x
    return x


def resized_to(
    reach: int,
    filter: Callable[[Tensor], Tensor],
    x: Tensor,
    size: list[int],
    align_corners: bool,
    *scales: float | None,
) -> Tensor:
    """The same for overloads whose scales are arguments of their own."""
    return resized(reach, filter, x, size, align_corners, None if None in scales else list(scales))  # type: ignore[arg-type]


def _weights(
    reach: int, filter: Callable[[Tensor], Tensor], extent: int, out: int, align_corners: bool, scale: float | None
) -> Tensor:
    """Of each result along an axis, the weights of all elements."""
    step = 1 / scale if scale else extent / out
    if align_corners:
        step = (extent - 1) / (out - 1) if out > 1 else 0.0
    stretch = max(step, 1.0)
    support = reach * stretch
    center = step * (torch.arange(out, dtype=torch.float64) + 0.5)
    place = torch.arange(extent, dtype=torch.float64)
    first = torch.floor(center - support + 0.5).clamp(min=0)
    last = torch.floor(center + support + 0.5).clamp(max=extent)
    inside = (place >= first[:, None]) & (place < last[:, None])
    weights = torch.where(inside, filter((place + 0.5 - center[:, None]) / stretch), 0.0)
    return weights / weights.sum(1, keepdim=True)


ANTIALIASED: dict[Any, Callable[..., Any]] = {
    aten._upsample_bilinear2d_aa.vec: partial(resized, 1, triangle),
    aten._upsample_bilinear2d_aa.default: partial(resized_to, 1, triangle),
    aten._upsample_bicubic2d_aa.vec: partial(resized, 2, cubic),
    aten._upsample_bicubic2d_aa.default: partial(resized_to, 2, cubic),
}
"""By ATen overload."""
