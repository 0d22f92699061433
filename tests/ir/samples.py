"""Sample applications of every operator, with what PyTorch makes of the same operands.

Extents within a sample differ and are composite where they can, so that every dim of a space can be cut in more than
one way and no dim is mistaken for another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import ir.ops  # noqa: F401
from ir.op import OPS, Array, Op
from ir.types import DType, TensorType

aten = torch.ops.aten


@dataclass(frozen=True)
class Sample:
    """One application of `op`; `reference` makes the same results from the operands as torch tensors.

    Floating-point operands are normally distributed, or lie above 0.1 where `positive`, or are rounded to
    `whole_numbers`, which are often equal. Integers lie in `-below .. below - 1`, or in `0 .. below - 1` where they
    are an `index`, or in `1 .. below - 1` where `positive`.
    """

    op: Op
    operands: tuple[TensorType, ...]
    reference: Callable[..., Any]
    positive: bool = False
    whole_numbers: bool = False
    below: int = 4
    index: bool = False

    def arrays(self, seed: int = 0) -> list[Array]:
        """Random operands."""
        rng = np.random.default_rng(seed)
        return [self._array(rng, operand) for operand in self.operands]

    def _array(self, rng: np.random.Generator, type: TensorType) -> Array:
        if type.dtype is DType.BOOL:
            return rng.random(type.shape) < 0.5
        if not type.dtype.is_float:
            low = 1 if self.positive else 0 if self.index else -self.below
            return rng.integers(low, self.below, type.shape).astype(type.dtype.compute)
        normal = rng.standard_normal(type.shape).astype(np.float32)
        if self.whole_numbers:
            return np.rint(normal)
        return np.abs(normal) + np.float32(0.1) if self.positive else normal


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def i32(*shape: int) -> TensorType:
    return TensorType(DType.I32, shape)


def i8(*shape: int) -> TensorType:
    return TensorType(DType.I8, shape)


def boolean(*shape: int) -> TensorType:
    return TensorType(DType.BOOL, shape)


def op(name: str, **attributes: Any) -> Op:
    return OPS[name](**attributes)


def unary(name: str, reference: Callable[[Tensor], Tensor], **options: Any) -> list[Sample]:
    """On a tensor of two axes and on a scalar."""
    return [Sample(op(name), (shape,), reference, **options) for shape in (f32(4, 6), f32())]


def binary(
    name: str, reference: Callable[[Tensor, Tensor], Tensor], *, integers: bool = False, **options: Any
) -> list[Sample]:
    """On equal shapes, on shapes that broadcast, and on integers where the operator takes them."""
    shapes = [(f32(4, 6), f32(4, 6)), (f32(4, 1, 9), f32(6, 1))]
    if integers:
        shapes.append((i32(4, 6), i32(6)))
    return [Sample(op(name), pair, reference, **options) for pair in shapes]


def gradient(name: str, reference: Callable[[Tensor, Tensor], Tensor], **attributes: Any) -> list[Sample]:
    return [Sample(op(name, **attributes), (f32(4, 6), f32(4, 6)), reference)]


def convolution(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> list[Sample]:
    """A convolution and its two gradients."""
    where = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = tuple(F.conv2d(torch.empty(x), torch.empty(w), None, stride, padding, dilation, groups).shape)

    def forward(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, None, **where)

    def input_gradient(dy: Tensor, w: Tensor) -> Tensor:
        return torch.nn.grad.conv2d_input(x, w, dy, **where)

    def weight_gradient(dy: Tensor, image: Tensor) -> Tensor:
        return torch.nn.grad.conv2d_weight(image, w, dy, **where)

    return [
        Sample(op("conv2d", **where, dtype=DType.F32), (f32(*x), f32(*w)), forward),
        Sample(
            op("conv2d_input_gradient", input_shape=x, **where, dtype=DType.F32), (f32(*y), f32(*w)), input_gradient
        ),
        Sample(
            op("conv2d_weight_gradient", weight_shape=w, **where, dtype=DType.F32), (f32(*y), f32(*x)), weight_gradient
        ),
    ]


def elu(alpha: float, scale: float, input_scale: float) -> list[Sample]:
    """The exponential linear unit and its gradients, from its operand and from its result."""
    scales = {"alpha": alpha, "scale": scale, "input_scale": input_scale}

    def backward(dy: Tensor, x: Tensor, is_result: bool) -> Tensor:
        return aten.elu_backward(dy, alpha, scale, input_scale, is_result, x)

    return [
        Sample(op("elu", **scales), (f32(4, 6),), lambda x: aten.elu(x, alpha, scale, input_scale)),
        *[
            sample
            for is_result in (False, True)
            for sample in gradient(
                "elu_backward", partial(backward, is_result=is_result), **scales, is_result=is_result
            )
        ],
    ]


CONVOLUTIONS = [
    *convolution((4, 6, 9, 10), (8, 6, 3, 3), padding=(1, 1)),
    *convolution((4, 6, 9, 11), (8, 6, 3, 2), stride=(2, 3), padding=(0, 1), dilation=(2, 1)),
    *convolution((4, 6, 9, 10), (8, 6, 1, 1)),
    *convolution((6, 4, 16, 18), (10, 4, 2, 3), stride=(2, 3)),
    *convolution((4, 6, 9, 10), (8, 3, 3, 3), padding=(1, 1), groups=2),
    *convolution((4, 6, 9, 10), (6, 1, 3, 3), stride=(2, 2), padding=(1, 1), groups=6),
    *convolution((2, 6, 12, 10), (6, 1, 5, 5), padding=(2, 1), groups=6),
    *convolution((4, 24, 9, 10), (48, 24, 3, 3), padding=(1, 1)),
    *convolution((6, 16, 9, 10), (18, 16, 3, 3), padding=(1, 1)),
    *convolution((4, 32, 15, 21), (36, 16, 3, 2), stride=(2, 3), padding=(0, 1), dilation=(2, 1), groups=2),
    *convolution((2, 16, 70, 80), (18, 16, 4, 4), stride=(2, 2), padding=(1, 1)),
    *convolution((2, 3, 160, 170), (4, 3, 5, 5), padding=(2, 2)),
    *convolution((3, 5, 17, 32), (18, 5, 3, 3), padding=(1, 1)),
    *convolution((3, 6, 31, 64), (20, 3, 4, 5), stride=(2, 2), padding=(1, 2), groups=2),
    *convolution((4, 18, 9, 10), (16, 18, 1, 1), stride=(2, 3)),
    *convolution((4, 18, 9, 11), (16, 9, 1, 1), stride=(3, 1), groups=2),
    *convolution((4, 6, 9, 11), (8, 6, 1, 1), stride=(2, 2), padding=(1, 0)),
]


def max_pool(
    x: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    integers: bool = False,
) -> list[Sample]:
    """Maximum pooling and its gradient; `integers` makes ties."""
    where = {"stride": stride, "padding": padding, "dilation": dilation}
    pooled = tuple(F.max_pool2d(torch.empty(x), kernel, **where).shape)

    def forward(image: Tensor) -> tuple[Tensor, Tensor]:
        y, flat = aten.max_pool2d_with_indices(image, kernel, stride, padding, dilation)
        row, column = flat // x[-1], flat % x[-1]
        row = (row + padding[0] - torch.arange(pooled[-2])[:, None] * stride[0]) // dilation[0]
        column = (column + padding[1] - torch.arange(pooled[-1]) * stride[1]) // dilation[1]
        return y, row * kernel[1] + column

    def backward(dy: Tensor, index: Tensor) -> Tensor:
        here = F.one_hot(index.long(), kernel[0] * kernel[1]).movedim(-1, -3)
        columns = (here * dy.unsqueeze(-3)).reshape(-1, kernel[0] * kernel[1], pooled[-2] * pooled[-1])
        return F.fold(columns, x[-2:], kernel, dilation, padding, stride).reshape(x)

    attributes = {"kernel_size": kernel, **where}
    count = kernel[0] * kernel[1]
    return [
        Sample(op("max_pool2d", **attributes), (f32(*x),), forward),
        Sample(
            op("max_pool2d_backward", input_shape=x, **attributes),
            (f32(*pooled), i8(*pooled)),
            backward,
            below=count,
            index=True,
        ),
    ]


def avg_pool(
    x: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    count_include_pad: bool = True,
) -> list[Sample]:
    """Average pooling and its gradient."""

    def forward(image: Tensor) -> Tensor:
        return F.avg_pool2d(image, kernel, stride, padding, count_include_pad=count_include_pad)

    def backward(dy: Tensor) -> Tensor:
        return torch.func.vjp(forward, torch.zeros(x))[1](dy)[0]

    attributes = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "count_include_pad": count_include_pad,
    }
    pooled = tuple(forward(torch.empty(x)).shape)
    return [
        Sample(op("avg_pool2d", **attributes), (f32(*x),), forward),
        Sample(op("avg_pool2d_backward", input_shape=x, **attributes), (f32(*pooled),), backward),
    ]


POOLS = [
    *max_pool((4, 6, 16, 18), (2, 2), (2, 2)),
    *max_pool((4, 9, 11), (3, 2), (2, 1), (1, 1)),
    *max_pool((4, 9, 11), (3, 3), (1, 2), (1, 0), (2, 1)),
    *avg_pool((4, 6, 16, 18), (2, 3), (2, 3)),
    *avg_pool((4, 9, 11), (3, 3), (2, 2), (1, 1)),
    *avg_pool((4, 9, 11), (3, 3), (2, 2), (1, 1), count_include_pad=False),
]


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    return aten.native_layer_norm(x, gamma.shape, gamma, beta, 1e-5)


def layer_norm_backward(dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
    return aten.native_layer_norm_backward(dy, x, gamma.shape, mean, rstd, gamma, gamma, [True, True, True])


def reduction(name: str, reference: Callable[..., Tensor], *dtypes: Callable[..., TensorType]) -> list[Sample]:
    return [
        Sample(op(name, dims=dims, keepdim=keepdim), (dtype(4, 6, 9),), lambda x, d=dims, k=keepdim: reference(x, d, k))
        for dtype in dtypes
        for dims, keepdim in (((1,), False), ((0, 2), True), ((0, 1, 2), False), ((0, 1, 2), True))
    ]


def along(name: str, reference: Callable[..., Tensor], operands: int) -> list[Sample]:
    return [
        Sample(op(name, dim=dim), (f32(4, 6, 9),) * operands, lambda *x, dim=dim: reference(*x, dim)) for dim in (1, 2)
    ]


SAMPLES: list[Sample] = [
    *binary("add", torch.add, integers=True),
    *binary("sub", torch.sub, integers=True),
    *binary("mul", torch.mul, integers=True),
    *binary("div", torch.div),
    Sample(op("pow"), (f32(4, 6), f32(6)), torch.pow, positive=True),
    *binary("maximum", torch.maximum, integers=True),
    *binary("minimum", torch.minimum, integers=True),
    *unary("neg", torch.neg),
    *unary("abs", torch.abs),
    *unary("sign", torch.sign),
    *unary("floor", torch.floor),
    *unary("exp", torch.exp),
    *unary("log", torch.log, positive=True),
    *unary("sqrt", torch.sqrt, positive=True),
    *unary("rsqrt", torch.rsqrt, positive=True),
    *unary("reciprocal", torch.reciprocal),
    *unary("sin", torch.sin),
    *unary("cos", torch.cos),
    *unary("tanh", torch.tanh),
    *unary("sigmoid", torch.sigmoid),
    *unary("silu", F.silu),
    *unary("all_reduce", torch.clone),
    *unary("relu", torch.relu),
    Sample(op("clamp", low=-0.5, high=math.inf), (f32(4, 6),), lambda x: x.clamp(-0.5)),
    Sample(op("clamp", low=-0.5, high=0.7), (f32(4, 6),), lambda x: x.clamp(-0.5, 0.7)),
    *[
        Sample(op("leaky_relu", slope=slope), (f32(4, 6),), lambda x, slope=slope: F.leaky_relu(x, slope))
        for slope in (0.0, 0.01, 1.5, -2.0)
    ],
    *[
        sample
        for slope in (0.0, 0.01, 1.5, -2.0)
        for sample in gradient(
            "leaky_relu_backward",
            lambda dy, x, slope=slope: aten.leaky_relu_backward(dy, x, slope, False),
            slope=slope,
        )
    ],
    *[
        sample
        for scales in ((1.0, 1.0, 1.0), (1.7, 1.05, 1.0), (0.5, 1.0, 2.0), (0.3, 1.2, 0.8))
        for sample in elu(*scales)
    ],
    Sample(op("relu"), (i32(4, 6),), torch.relu),
    *unary("erf", torch.erf),
    Sample(op("gelu", approximate="none"), (f32(4, 6),), F.gelu),
    Sample(op("gelu", approximate="tanh"), (f32(4, 6),), lambda x: F.gelu(x, approximate="tanh")),
    *gradient("tanh_backward", aten.tanh_backward),
    *gradient("sigmoid_backward", aten.sigmoid_backward),
    *gradient("silu_backward", aten.silu_backward),
    *gradient("relu_backward", lambda dy, y: aten.threshold_backward(dy, y, 0)),
    *gradient("gelu_backward", aten.gelu_backward, approximate="none"),
    *gradient("gelu_backward", lambda dy, x: aten.gelu_backward(dy, x, approximate="tanh"), approximate="tanh"),
    *binary("eq", torch.eq, integers=True, whole_numbers=True),
    *binary("ne", torch.ne, integers=True, whole_numbers=True),
    *binary("lt", torch.lt, integers=True, whole_numbers=True),
    *binary("le", torch.le, integers=True, whole_numbers=True),
    *binary("gt", torch.gt, integers=True, whole_numbers=True),
    *binary("ge", torch.ge, integers=True, whole_numbers=True),
    Sample(op("logical_and"), (boolean(4, 6), boolean(6)), torch.logical_and),
    Sample(op("logical_or"), (boolean(4, 6), boolean(6)), torch.logical_or),
    Sample(op("logical_not"), (boolean(4, 6),), torch.logical_not),
    Sample(op("where"), (boolean(4, 6), f32(4, 6), f32()), torch.where),
    Sample(op("where"), (boolean(6), i32(4, 6), i32(4, 1)), torch.where),
    Sample(op("where"), (boolean(4, 6), boolean(4, 6), boolean(6)), torch.where),
    Sample(op("cast", dtype=DType.I32), (f32(4, 6),), lambda x: x.to(torch.int32)),
    Sample(op("cast", dtype=DType.F32), (i32(4, 6),), lambda x: x.to(torch.float32)),
    Sample(op("cast", dtype=DType.BOOL), (i32(4, 6),), lambda x: x.to(torch.bool)),
    Sample(op("cast", dtype=DType.BOOL), (f32(4, 6),), lambda x: x.to(torch.bool)),
    Sample(op("cast", dtype=DType.BF16), (f32(4, 6),), lambda x: x),
    Sample(op("cast", dtype=DType.F32), (boolean(4, 6),), lambda x: x.to(torch.float32)),
    Sample(op("full", shape=(4, 6), value=1.5, dtype=DType.F32), (), lambda: torch.full((4, 6), 1.5)),
    Sample(op("reshape", shape=(2, 2, 18)), (f32(4, 6, 3),), lambda x: x.reshape(2, 2, 18)),
    Sample(op("reshape", shape=(8, 3, 1, 5)), (f32(6, 4, 5),), lambda x: x.reshape(8, 3, 1, 5)),
    Sample(op("reshape", shape=(1, 1)), (f32(),), lambda x: x.reshape(1, 1)),
    Sample(op("permute", dims=(2, 0, 1)), (f32(4, 6, 9),), lambda x: x.permute(2, 0, 1)),
    Sample(op("expand", shape=(8, 4, 6)), (f32(4, 1),), lambda x: x.expand(8, 4, 6)),
    Sample(op("slice", dim=1, start=1, stop=6, step=2), (f32(4, 6, 9),), lambda x: x[:, 1:6:2]),
    Sample(op("cat", dim=1), (f32(4, 2, 9), f32(4, 6, 9), f32(4, 3, 9)), lambda *x: torch.cat(x, 1)),
    *reduction("sum_square", lambda x, d, k: x.square().sum(d, k), f32),
    Sample(
        op("sum_square", dims=(0, 1), keepdim=True), (f32(4, 6, 9),), lambda x: x.square().sum((0, 1), keepdim=True)
    ),
    Sample(op("sum_square", dims=(1, 2), keepdim=False), (f32(4, 6, 9),), lambda x: x.square().sum((1, 2))),
    *reduction("sum", lambda x, d, k: x.sum(d, k), f32, i32, boolean),
    *reduction("amax", torch.amax, f32, i32),
    *reduction("amin", torch.amin, f32, i32),
    Sample(op("argmax", dim=1, keepdim=False), (f32(4, 6, 9),), lambda x: x.argmax(1)),
    Sample(op("argmax", dim=2, keepdim=True), (i32(4, 6, 9),), lambda x: x.argmax(2, keepdim=True)),
    *along("softmax", torch.softmax, 1),
    *along("log_softmax", torch.log_softmax, 1),
    *along("softmax_backward", lambda dy, y, dim: aten._softmax_backward_data(dy, y, dim, torch.float32), 2),
    *along("log_softmax_backward", lambda dy, y, dim: aten._log_softmax_backward_data(dy, y, dim, torch.float32), 2),
    Sample(op("layer_norm", axes=1, eps=1e-5), (f32(4, 6, 9), f32(9), f32(9)), layer_norm),
    Sample(op("layer_norm", axes=2, eps=1e-5), (f32(4, 6, 9), f32(6, 9), f32(6, 9)), layer_norm),
    Sample(
        op("layer_norm_backward", axes=1),
        (f32(4, 6, 9), f32(4, 6, 9), f32(4, 6, 1), f32(4, 6, 1), f32(9)),
        layer_norm_backward,
    ),
    Sample(
        op("layer_norm_backward", axes=2),
        (f32(4, 6, 9), f32(4, 6, 9), f32(4, 1, 1), f32(4, 1, 1), f32(6, 9)),
        layer_norm_backward,
    ),
    Sample(op("matmul", dtype=DType.F32), (f32(4, 6), f32(6, 9)), torch.matmul),
    Sample(op("matmul", dtype=DType.F32), (f32(2, 8, 4, 6), f32(2, 8, 6, 9)), torch.matmul),
    *CONVOLUTIONS,
    *POOLS,
    Sample(op("index_select", dim=0), (f32(10, 6), i32(4, 9)), lambda x, i: x[i.long()], below=10, index=True),
    Sample(op("index_select", dim=1), (f32(4, 10, 6), i32(9)), lambda x, i: x[:, i.long()], below=10, index=True),
    Sample(
        op("index_add", dim=0, extent=10),
        (f32(4, 9, 6), i32(4, 9)),
        lambda dy, i: aten.embedding_dense_backward(dy, i.long(), 10, -1, False),
        below=10,
        index=True,
    ),
    *(
        Sample(
            op("index_add", dim=1, extent=10),
            (f32(4, 9, rest), i32(9)),
            lambda x, i: x.new_zeros(len(x), 10, x.shape[-1]).index_add(1, i.long(), x),
            below=10,
            index=True,
        )
        for rest in (6, 12)
    ),
    Sample(
        op("gather", dim=1),
        (f32(4, 10, 9), i32(4, 6, 9)),
        lambda x, i: x.gather(1, i.long()),
        below=10,
        index=True,
    ),
    Sample(op("gather", dim=0), (f32(10, 8), i32(4, 6)), lambda x, i: x.gather(0, i.long()), below=10, index=True),
    Sample(
        op("nll", ignore_index=3),
        (f32(12, 10), i32(12)),
        lambda logp, target: F.nll_loss(logp, target.long(), ignore_index=3, reduction="none"),
        below=10,
        index=True,
    ),
    Sample(
        op("nll_backward", classes=10, ignore_index=3),
        (f32(12), i32(12)),
        lambda dy, i: -dy[:, None] * F.one_hot(i.long(), 10) * (i != 3)[:, None],
        below=10,
        index=True,
    ),
]
