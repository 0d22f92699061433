"""Convolutions that no single operator of the device does.

In three dimensions they are two-dimensional: the window's depth becomes channels, or the other way round. Of integers
they are sums over the window's positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _batched(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The convolution also of a single image, without an axis for a batch."""

    @wraps(convolve)
    def convolve_any(x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> Tensor:
        if x.dim() == weight.dim():
            return convolve(x, weight, *rest, **named)
        return convolve(x.unsqueeze(0), weight, *rest, **named).squeeze(0)

    return convolve_any


@_batched
def convolution3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Every slice of the result sees `kd` slices of the image side by side, as further channels."""
    step, gap = _each(stride, 3), _each(dilation, 3)
    if isinstance(padding, str):
        x, padding = _same(x, weight, gap) if padding == "same" else x, 0
    pad, depth = _each(padding, 3), weight.shape[2]
    x = F.pad(x, (0, 0, 0, 0, pad[0], pad[0]))
    slices = (x.shape[2] - gap[0] * (depth - 1) - 1) // step[0] + 1
    parts = [
        x[:, :, start : start + (slices - 1) * step[0] + 1 : step[0]] for start in range(0, depth * gap[0], gap[0])
    ]
    images = torch.stack(parts, 2).permute(0, 3, 1, 2, 4, 5).flatten(2, 3).flatten(0, 1)
    y = F.conv2d(images, weight.flatten(1, 2), bias, step[1:], pad[1:], gap[1:], groups)
    return y.unflatten(0, (x.shape[0], slices)).transpose(1, 2)


def _same(x: Tensor, weight: Tensor, dilation: list[int]) -> Tensor:
    """Padded so that the convolution keeps the extents; what is left of an odd total goes behind."""
    amounts: list[int] = []
    for size, gap in zip(reversed(weight.shape[2:]), reversed(dilation)):
        total = gap * (size - 1)
        amounts += [total // 2, total - total // 2]
    return F.pad(x, amounts)


@_batched
def transposed_convolution3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Every slice makes `kd` slices as further channels, which are added up where they belong."""
    step, pad, extra, gap = _each(stride, 3), _each(padding, 3), _each(output_padding, 3), _each(dilation, 3)
    images, _, slices = x.shape[:3]
    outputs, depth = weight.shape[1] * groups, weight.shape[2]
    flat = x.transpose(1, 2).flatten(0, 1)
    made = F.conv_transpose2d(flat, weight.flatten(1, 2), None, step[1:], pad[1:], extra[1:], groups, gap[1:])
    made = made.unflatten(0, (images, slices)).unflatten(2, (outputs, depth)).permute(0, 2, 3, 1, 4, 5)
    spread = _spread(made, 3, step[0])
    total = (slices - 1) * step[0] + gap[0] * (depth - 1) + 1
    y = torch.zeros((), dtype=x.dtype)
    for number in range(depth):
        before = number * gap[0]
        y = y + F.pad(spread[:, :, number], (0, 0, 0, 0, before, total - before - spread.shape[3]))
    y = F.pad(y, (0, 0, 0, 0, 0, extra[0]))
    y = y[:, :, pad[0] : y.shape[2] - pad[0]]
    return y if bias is None else y + bias.reshape(-1, 1, 1, 1)


def _spread(x: Tensor, axis: int, step: int) -> Tensor:
    """One axis with `step - 1` zeros between its elements."""
    if step == 1:
        return x
    behind = [0, 0] * (x.dim() - axis - 1)
    apart = F.pad(x.unsqueeze(axis + 1), [*behind, 0, step - 1]).flatten(axis, axis + 1)
    return apart.narrow(axis, 0, (x.shape[axis] - 1) * step + 1)


@_batched
def integer_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """[n, ci, ...] with [co, ci / groups, ...]: for each position of the window, a product of matrices of integers."""
    axes = weight.dim() - 2
    step, gap = _each(stride, axes), _each(dilation, axes)
    if isinstance(padding, str):
        x, padding = _same(x, weight, gap) if padding == "same" else x, 0
    x = F.pad(x, [amount for extent in reversed(_each(padding, axes)) for amount in (extent, extent)])
    sizes = weight.shape[2:]
    count = [(e - g * (k - 1) - 1) // s + 1 for e, k, s, g in zip(x.shape[2:], sizes, step, gap)]
    images, outputs, inputs = x.shape[0], weight.shape[0] // groups, weight.shape[1]
    total = torch.zeros((), dtype=x.dtype)
    for position in product(*map(range, sizes)):
        starts = [number * distance for number, distance in zip(position, gap)]
        reached = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, count, step)]
        pixels, here = (slice(None), slice(None), *reached), (slice(None), slice(None), *position)
        columns = x[pixels].reshape(images, groups, inputs, math.prod(count))
        total = total + weight[here].reshape(1, groups, outputs, inputs) @ columns
    y = total.reshape(images, groups * outputs, *count)
    return y if bias is None else y + bias.reshape(-1, *[1] * axes)


@_batched
def transposed_integer_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """[n, ci, ...] with [ci, co / groups, ...]: the convolution of x, with zeros between its elements, by the weight
    with its channels exchanged and its positions reversed."""
    axes = weight.dim() - 2
    each = (_each(value, axes) for value in (stride, padding, output_padding, dilation))
    amounts: list[int] = []
    for axis, (step, pad, extra, gap) in enumerate(zip(*each), 2):
        x = _spread(x, axis, step)
        reach = gap * (weight.shape[axis] - 1) - pad
        amounts = [reach, reach + extra, *amounts]
    per_group = weight.unflatten(0, (groups, weight.shape[0] // groups)).transpose(1, 2).flatten(0, 1)
    reversed_weight = per_group.flip(list(range(2, weight.dim())))
    return integer_convolution(F.pad(x, amounts), reversed_weight, bias, dilation=dilation, groups=groups)


def general_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """Any convolution: of integers or in three dimensions as above, else as it is."""
    if not x.is_floating_point() and transposed:
        return transposed_integer_convolution(x, weight, bias, stride, padding, output_padding, groups, dilation)
    if not x.is_floating_point():
        return integer_convolution(x, weight, bias, stride, padding, dilation, groups)
    if weight.dim() != 5:
        return aten.convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
    if transposed:
        return transposed_convolution3d(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolution3d(x, weight, bias, stride, padding, dilation, groups)


def _of(own: Callable[..., Any], integers: Callable[..., Any]) -> Callable[..., Any]:
    """A convolution by its operands' element type: an operator's own rule for floating-point ones."""

    def convolve(x: Tensor, *rest: Any, **named: Any) -> Any:
        return (own if x.is_floating_point() else integers)(x, *rest, **named)

    return convolve


CONVOLUTION: dict[Any, Callable[..., Any]] = {
    **{
        overload: _of(overload, integer_convolution)
        for overload in (aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding)
    },
    **{
        overload: _of(overload, transposed_integer_convolution)
        for overload in (aten.conv_transpose1d.default, aten.conv_transpose2d.input)
    },
    **dict.fromkeys((aten.conv3d.default, aten.conv3d.padding), _of(convolution3d, integer_convolution)),
    aten.conv_transpose3d.input: _of(transposed_convolution3d, transposed_integer_convolution),
    aten.convolution.default: general_convolution,
}
"""By ATen overload."""
