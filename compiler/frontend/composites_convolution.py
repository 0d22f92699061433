"""Three-dimensional convolution as two-dimensional: the window's depth becomes channels, or the other way round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


def _three(value: int | Sequence[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 3 if len(values) == 1 else values


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
    if x.dim() == 4:
        return convolution3d(x.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    step, gap = _three(stride), _three(dilation)
    if isinstance(padding, str):
        x, padding = _same(x, weight, gap) if padding == "same" else x, 0
    pad, depth = _three(padding), weight.shape[2]
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
    if x.dim() == 4:
        whole = x.unsqueeze(0)
        return transposed_convolution3d(whole, weight, bias, stride, padding, output_padding, groups, dilation).squeeze(
            0
        )
    step, pad, extra, gap = _three(stride), _three(padding), _three(output_padding), _three(dilation)
    images, _, slices = x.shape[:3]
    outputs, depth = weight.shape[1] * groups, weight.shape[2]
    flat = x.transpose(1, 2).flatten(0, 1)
    made = F.conv_transpose2d(flat, weight.flatten(1, 2), None, step[1:], pad[1:], extra[1:], groups, gap[1:])
    made = made.unflatten(0, (images, slices)).unflatten(2, (outputs, depth)).permute(0, 2, 3, 1, 4, 5)
    spread = _spread(made, step[0])
    total = (slices - 1) * step[0] + gap[0] * (depth - 1) + 1
    y = torch.zeros((), dtype=x.dtype)
    for number in range(depth):
        before = number * gap[0]
        y = y + F.pad(spread[:, :, number], (0, 0, 0, 0, before, total - before - spread.shape[3]))
    y = F.pad(y, (0, 0, 0, 0, 0, extra[0]))
    y = y[:, :, pad[0] : y.shape[2] - pad[0]]
    return y if bias is None else y + bias.reshape(-1, 1, 1, 1)


def _spread(x: Tensor, step: int) -> Tensor:
    """Axis 3 with `step - 1` zeros between its elements."""
    if step == 1:
        return x
    apart = F.pad(x.unsqueeze(4), (0, 0, 0, 0, 0, step - 1)).flatten(3, 4)
    return apart[:, :, :, : (x.shape[3] - 1) * step + 1]


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
    """Any convolution: in three dimensions as above, in fewer as it is."""
    if weight.dim() != 5:
        return aten.convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
    if transposed:
        return transposed_convolution3d(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolution3d(x, weight, bias, stride, padding, dilation, groups)


CONVOLUTION: dict[Any, Callable[..., Any]] = {
    aten.conv3d.default: convolution3d,
    aten.conv3d.padding: convolution3d,
    aten.conv_transpose3d.input: transposed_convolution3d,
    aten.convolution.default: general_convolution,
}
"""By ATen overload."""
