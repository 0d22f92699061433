"""ATen's convolutions and pooling. One-dimensional ones are two-dimensional ones of height one."""

from __future__ import annotations

import math

import torch

from compiler.frontend.lowering.context import Context, lowers
from ir.graph import Value
from ir.op import Attribute

aten = torch.ops.aten
POSITIONS = 127
"""Largest window whose positions fit the 8-bit index that max pooling keeps."""


@lowers(aten.convolution.default)
def convolution(
    context: Context,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Value:
    _check(context, x)
    attributes: dict[str, Attribute] = {**_attributes(stride, padding, dilation), "groups": groups}
    attributes["dtype"] = context.dtype
    if transposed:
        y = _transposed(context, _flat(context, x), _flat(context, weight), attributes)
    else:
        y = context.emit("conv2d", _flat(context, x), _flat(context, weight), **attributes)
    if bias is not None:
        y = context.emit("add", y, context.reshape(bias, (1, bias.type.numel, 1, 1)))
    return context.reshape(y, context.shape)


def _transposed(context: Context, x: Value, weight: Value, attributes: dict[str, Attribute]) -> Value:
    """The gradient of the convolution that would make x of the result.

    Where the result is so large that such a convolution would have further windows, the gradient of an image without
    padding is cut to the result, and zeros follow where it ends.
    """
    shape = context.shape if len(context.shape) == 4 else (*context.shape[:2], 1, context.shape[2])
    if not _goes_beyond(shape, x, weight, attributes):
        return context.emit("conv2d_input_gradient", x, weight, input_shape=shape, **attributes)
    image = _touched(x, weight, attributes)
    bare: dict[str, Attribute] = {**attributes, "padding": (0, 0)}
    y = context.emit("conv2d_input_gradient", x, weight, input_shape=(*shape[:2], *image), **bare)
    for dim, padding in zip((2, 3), _geometry(attributes)[1]):
        end = min(y.type.shape[dim], padding + shape[dim])
        y = _surrounded(context, context.slice(y, dim, padding, end), dim, 0, shape[dim])
    return y


def _geometry(attributes: dict[str, Attribute]) -> tuple[tuple[int, ...], ...]:
    found = (attributes[name] for name in ("stride", "padding", "dilation"))
    return tuple(value for value in found if isinstance(value, tuple))


def _goes_beyond(shape: tuple[int, ...], x: Value, weight: Value, attributes: dict[str, Attribute]) -> bool:
    """Whether more windows fit an image of this shape than x has elements, as with much output padding."""
    extents = zip(shape[2:], x.type.shape[2:], weight.type.shape[2:], *_geometry(attributes))
    return any(
        extent > count * stride + dilation * (kernel - 1) - 2 * padding
        for extent, count, kernel, stride, padding, dilation in extents
    )


def _touched(x: Value, weight: Value, attributes: dict[str, Attribute]) -> tuple[int, ...]:
    """How far the windows of x's elements reach together."""
    stride, _, dilation = _geometry(attributes)
    extents = zip(x.type.shape[2:], weight.type.shape[2:], stride, dilation)
    return tuple((count - 1) * step + gap * (kernel - 1) + 1 for count, kernel, step, gap in extents)


def _surrounded(context: Context, x: Value, dim: int, before: int, extent: int) -> Value:
    """One axis made `extent` long by zeros, `before` of them in front."""
    after = extent - before - x.type.shape[dim]
    zeros = [
        context.full((*x.type.shape[:dim], count, *x.type.shape[dim + 1 :]), 0, x.type.dtype)
        for count in (before, after)
    ]
    return context.cat([zeros[0], x, zeros[1]], dim)


@lowers(aten.convolution_backward.default)
def convolution_backward(
    context: Context,
    grad: Value,
    x: Value,
    weight: Value,
    bias_sizes: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    mask: list[bool],
) -> tuple[Value | None, ...]:
    _check(context, x)
    attributes: dict[str, Attribute] = {**_attributes(stride, padding, dilation), "groups": groups}
    attributes["dtype"] = x.type.dtype
    grad, flat_x, flat_weight = _flat(context, grad), _flat(context, x), _flat(context, weight)
    grad_x = grad_weight = grad_bias = None
    if transposed:
        return _transposed_backward(context, grad, x, flat_x, weight, flat_weight, attributes, mask)
    if mask[0]:
        grad_x = context.emit("conv2d_input_gradient", grad, flat_weight, input_shape=flat_x.type.shape, **attributes)
        grad_x = context.reshape(grad_x, x.type.shape)
    if mask[1]:
        grad_weight = context.emit(
            "conv2d_weight_gradient", grad, flat_x, weight_shape=flat_weight.type.shape, **attributes
        )
        grad_weight = context.reshape(grad_weight, weight.type.shape)
    if mask[2]:
        grad_bias = context.sum(grad, (0, 2, 3))
    return grad_x, grad_weight, grad_bias


def _transposed_backward(
    context: Context,
    grad: Value,
    x: Value,
    flat_x: Value,
    weight: Value,
    flat_weight: Value,
    attributes: dict[str, Attribute],
    mask: list[bool],
) -> tuple[Value | None, ...]:
    """A transposed convolution is an image's gradient, so its gradients are a convolution and a weight's gradient."""
    grad_bias = context.sum(grad, (0, 2, 3)) if mask[2] else None
    if _goes_beyond(grad.type.shape, flat_x, flat_weight, attributes):
        extents = zip((2, 3), _geometry(attributes)[1], _touched(flat_x, flat_weight, attributes))
        for dim, padding, extent in extents:
            grad = context.slice(grad, dim, 0, min(grad.type.shape[dim], extent - padding))
            grad = _surrounded(context, grad, dim, padding, extent)
        attributes = {**attributes, "padding": (0, 0)}
    grad_x = grad_weight = None
    if mask[0]:
        grad_x = context.reshape(context.emit("conv2d", grad, flat_weight, **attributes), x.type.shape)
    if mask[1]:
        shape = flat_weight.type.shape
        grad_weight = context.emit("conv2d_weight_gradient", flat_x, grad, weight_shape=shape, **attributes)
        grad_weight = context.reshape(grad_weight, weight.type.shape)
    return grad_x, grad_weight, grad_bias


def _check(context: Context, x: Value) -> None:
    if x.type.rank not in (3, 4):
        context.refuse(
            f"a convolution of a tensor of {x.type.rank} axes is not supported", "use Conv1d, Conv2d or Conv3d"
        )


def _flat(context: Context, x: Value) -> Value:
    """[n, c, w] as [n, c, 1, w]."""
    return x if x.type.rank == 4 else context.reshape(x, (*x.type.shape[:2], 1, x.type.shape[2]))


def _attributes(stride: list[int], padding: list[int], dilation: list[int]) -> dict[str, tuple[int, ...]]:
    return {"stride": _pair(stride, 1), "padding": _pair(padding, 0), "dilation": _pair(dilation, 1)}


def _pair(values: int | list[int], missing: int) -> tuple[int, int]:
    """Two extents: one given for a single axis belongs to the width, an int to both."""
    if isinstance(values, int):
        return values, values
    return (values[0], values[1]) if len(values) == 2 else (missing, values[0])


def _both(values: int | list[int]) -> tuple[int, int]:
    """Two extents for pooling, where one given counts for both axes."""
    if isinstance(values, int):
        return values, values
    return values[0], values[-1]


@lowers(aten.max_pool2d_with_indices.default)
def max_pool2d(
    context: Context,
    x: Value,
    kernel: list[int],
    stride: list[int] = [],  # noqa: B006  ATen's own default: the kernel's size
    padding: int | list[int] = 0,
    dilation: int | list[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Value, ...]:
    if ceil_mode:
        context.refuse("pooling with ceil_mode=True is not supported", "pad the input to a multiple of the stride")
    readers = [user for getitem in context.node.users if getitem.args[1] == 1 for user in getitem.users]
    if any(user.target is not aten.max_pool2d_with_indices_backward.default for user in readers):
        context.refuse("returning the indices of a max pooling is not supported", "pool without return_indices=True")
    if _both(kernel)[0] * _both(kernel)[1] > POSITIONS:
        what = f"a max pooling window of {_both(kernel)} is not supported"
        context.refuse(what, f"use windows of at most {POSITIONS} elements")
    return _pooled(context, x, _pooling(kernel, stride, padding, dilation))


def _pooled(context: Context, x: Value, attributes: dict[str, tuple[int, ...]]) -> tuple[Value, ...]:
    batched = _batched(context, x)
    y, index = context.emit_all("max_pool2d", batched, **attributes)
    return context.reshape(y, context.shape), index


@lowers(aten.max_pool2d_with_indices_backward.default)
def max_pool2d_backward(
    context: Context,
    grad: Value,
    x: Value,
    kernel: list[int],
    stride: list[int],
    padding: int | list[int],
    dilation: int | list[int],
    ceil_mode: bool,
    index: Value,
) -> Value:
    if not _is_position(context):
        return _scattered_back(context, grad, x, index)
    attributes = _pooling(kernel, stride, padding, dilation)
    shape = x.type.shape if x.type.rank == 4 else (1, *x.type.shape)
    result = context.emit("max_pool2d_backward", _batched(context, grad), index, input_shape=shape, **attributes)
    return context.reshape(result, context.shape)


def _is_position(context: Context) -> bool:
    """Whether the node's index comes from a max pooling of the model, which keeps positions within windows."""
    index = context.node.args[-1]
    source = index.args[0] if isinstance(index, torch.fx.Node) and index.args else None
    return isinstance(source, torch.fx.Node) and source.target is aten.max_pool2d_with_indices.default


def _scattered_back(context: Context, grad: Value, x: Value, index: Value) -> Value:
    """Each gradient added where an index into the image, as PyTorch has it, says."""
    *batch, height, width = x.type.shape
    images, windows = math.prod(batch), grad.type.shape[-2] * grad.type.shape[-1]
    zeros = context.full((images, height * width), 0, grad.type.dtype)
    rows = [context.reshape(part, (images, windows)) for part in (index, grad)]
    return context.reshape(context.emit("scatter_add", zeros, *rows, dim=1), context.shape)


@lowers(aten.avg_pool2d.default)
def avg_pool2d(
    context: Context,
    x: Value,
    kernel: list[int],
    stride: list[int] = [],  # noqa: B006  ATen's own default: the kernel's size
    padding: int | list[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    _check_average(context, ceil_mode, divisor_override)
    attributes = _averaging(kernel, stride, padding)
    y = context.emit("avg_pool2d", _batched(context, x), **attributes, count_include_pad=count_include_pad)
    return context.reshape(y, context.shape)


@lowers(aten.avg_pool2d_backward.default)
def avg_pool2d_backward(
    context: Context,
    grad: Value,
    x: Value,
    kernel: list[int],
    stride: list[int],
    padding: int | list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Value:
    _check_average(context, ceil_mode, divisor_override)
    shape = x.type.shape if x.type.rank == 4 else (1, *x.type.shape)
    attributes = _averaging(kernel, stride, padding)
    result = context.emit(
        "avg_pool2d_backward",
        _batched(context, grad),
        input_shape=shape,
        **attributes,
        count_include_pad=count_include_pad,
    )
    return context.reshape(result, context.shape)


@lowers(aten._adaptive_avg_pool2d.default)
def adaptive_avg_pool2d(context: Context, x: Value, size: list[int]) -> Value:
    kernel = _adaptive(context, x, size)
    attributes: dict[str, Attribute] = {**_averaging(kernel, kernel, 0), "count_include_pad": True}
    return context.reshape(context.emit("avg_pool2d", _batched(context, x), **attributes), context.shape)


@lowers(aten._adaptive_avg_pool2d_backward.default)
def adaptive_avg_pool2d_backward(context: Context, grad: Value, x: Value) -> Value:
    kernel = _adaptive(context, x, list(grad.type.shape[-2:]))
    shape = x.type.shape if x.type.rank == 4 else (1, *x.type.shape)
    attributes: dict[str, Attribute] = {**_averaging(kernel, kernel, 0), "count_include_pad": True}
    result = context.emit("avg_pool2d_backward", _batched(context, grad), input_shape=shape, **attributes)
    return context.reshape(result, context.shape)


def _adaptive(context: Context, x: Value, size: list[int]) -> list[int]:
    """The window of adaptive pooling to `size`, where windows do not overlap."""
    extents = x.type.shape[-2:]
    if any(extent % wanted for extent, wanted in zip(extents, size)):
        context.refuse(
            f"adaptive pooling of {list(extents)} to {list(size)} is not supported",
            "pool to a size that divides the input's",
        )
    return [extent // wanted for extent, wanted in zip(extents, size)]


def _check_average(context: Context, ceil_mode: bool, divisor_override: int | None) -> None:
    if ceil_mode or divisor_override is not None:
        context.refuse(
            "pooling with ceil_mode or divisor_override is not supported", "pad the input, and scale the result"
        )


def _averaging(kernel: list[int], stride: list[int], padding: int | list[int]) -> dict[str, tuple[int, ...]]:
    return {"kernel_size": _both(kernel), "stride": _both(stride or kernel), "padding": _both(padding)}


def _pooling(
    kernel: list[int], stride: list[int], padding: int | list[int], dilation: int | list[int]
) -> dict[str, tuple[int, ...]]:
    return {**_averaging(kernel, stride, padding), "dilation": _both(dilation)}


def _batched(context: Context, x: Value) -> Value:
    """[c, h, w] as [1, c, h, w]."""
    return x if x.type.rank == 4 else context.reshape(x, (1, *x.type.shape))
