"""Samples of functions, integer arithmetic, running results, order, writing by index, and random numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from samples import Sample, binary, boolean, f32, i32, op, unary
from torch import Tensor

from ir.op import Array
from ir.types import DType, TensorType

ROUNDED = [
    *unary("ceil", torch.ceil),
    *unary("trunc", torch.trunc),
    *unary("round", torch.round),
    *unary("expm1", torch.expm1),
    *unary("exp2", torch.exp2),
    *unary("log1p", torch.log1p, positive=True),
    *unary("log2", torch.log2, positive=True),
    *unary("log10", torch.log10, positive=True),
    *unary("tan", torch.tan),
    *unary("asin", torch.asin),
    *unary("acos", torch.acos),
    *unary("atan", torch.atan),
    *unary("sinh", torch.sinh),
    *unary("cosh", torch.cosh),
    *unary("asinh", torch.asinh),
    *unary("acosh", torch.acosh),
    *unary("atanh", torch.atanh),
    *binary("atan2", torch.atan2),
]


INTEGERS = [
    Sample(op("matmul", dtype=DType.I32), (i32(4, 6), i32(6, 9)), torch.matmul),
    *binary("floor_div", torch.floor_divide),
    *binary("remainder", torch.remainder),
    *binary("fmod", torch.fmod),
    *[
        Sample(op(name), (i32(4, 6), i32(4, 6)), function)
        for name, function in (
            ("bitwise_and", torch.bitwise_and),
            ("bitwise_or", torch.bitwise_or),
            ("bitwise_xor", torch.bitwise_xor),
        )
    ],
    Sample(op("bitwise_not"), (i32(4, 6),), torch.bitwise_not),
    Sample(op("shift_left"), (i32(4, 6), i32(6)), torch.bitwise_left_shift, index=True, below=9),
    Sample(op("shift_right"), (i32(4, 6), i32(6)), torch.bitwise_right_shift, index=True, below=9),
]


def checked(name: str, function: Callable[..., Tensor], **options: Any) -> Sample:
    """On operands that broadcast."""
    return Sample(op(f"checked_{name}"), (i32(4, 6), i32(6)), function, **options)


CHECKED = [
    checked("add", torch.add),
    checked("sub", torch.sub),
    checked("mul", torch.mul),
    checked("shift_left", torch.bitwise_left_shift, index=True, below=9),
    checked("pow", torch.pow, index=True, below=9),
    checked("floor_div", lambda a, b: torch.floor_divide(a, b), positive=True),
    checked("remainder", lambda a, b: torch.remainder(a, b), positive=True),
    checked("fmod", lambda a, b: torch.fmod(a, b), positive=True),
    Sample(op("checked_neg"), (i32(4, 6),), torch.neg),
    Sample(op("checked_abs"), (i32(4, 6),), torch.abs),
    Sample(op("checked_cast"), (f32(4, 6),), lambda x: (x * 1).to(torch.int32)),
    Sample(op("checked_sum", dims=(0, 2), keepdim=False), (i32(4, 6, 9),), lambda x: x.sum((0, 2))),
    Sample(op("checked_prod", dims=(1,), keepdim=True), (i32(4, 3),), lambda x: x.prod(1, keepdim=True)),
    Sample(op("checked_cumsum", dim=1), (i32(4, 6),), lambda x: x.cumsum(1)),
    Sample(op("checked_cumprod", dim=1), (i32(4, 6),), lambda x: x.cumprod(1)),
    Sample(op("checked_matmul"), (i32(4, 6), i32(6, 9)), torch.matmul),
    Sample(
        op("checked_index_add", dim=0, extent=10),
        (i32(9, 4), i32(9)),
        lambda x, i: torch.zeros(10, 4, dtype=torch.int64).index_add(0, i, x.long()),
        index=True,
        below=10,
    ),
    *[
        Sample(
            op(f"checked_{name}", dim=0),
            (i32(9, 4), i32(6, 4), i32(6, 4)),
            lambda x, i, src, r=reduce: x.scatter_reduce(0, i.long(), src, r),
            index=True,
            below=9,
        )
        for name, reduce in (("scatter_add", "sum"), ("scatter_mul", "prod"))
    ],
    Sample(op("wrap_index", extent=4), (i32(4, 6),), lambda x: torch.where(x < 0, x + 4, x)),
]

ORDERED = [
    Sample(op("flip", dims=(0, 2)), (f32(4, 6, 9),), lambda x: x.flip(0, 2)),
    *[
        Sample(op(name, dim=dim), (type,), lambda x, f=function, d=dim: f(x, d), **options)
        for name, function in (
            ("cumsum", lambda x, d: torch.cumsum(x, d, dtype=x.dtype)),
            ("cumprod", lambda x, d: torch.cumprod(x, d, dtype=x.dtype)),
            ("cummax", lambda x, d: tuple(torch.cummax(x, d))),
            ("cummin", lambda x, d: tuple(torch.cummin(x, d))),
        )
        for dim, type, options in ((1, f32(4, 6, 9), {"whole_numbers": True}), (0, i32(6, 4), {}))
    ],
    Sample(op("logcumsumexp", dim=1), (f32(4, 6, 9),), lambda x: x.logcumsumexp(1)),
    *[
        Sample(
            op("sort", dim=dim, descending=descending),
            (type,),
            lambda x, d=dim, r=descending: tuple(torch.sort(x, dim=d, descending=r, stable=True)),
            whole_numbers=True,
        )
        for dim, descending, type in ((1, False, f32(4, 6, 9)), (2, True, f32(4, 6, 9)), (0, True, i32(6, 4)))
    ],
    *[
        Sample(
            op("topk", k=k, dim=dim, largest=largest),
            (type,),
            lambda x, k=k, d=dim, r=largest: tuple(
                found.narrow(d, 0, k) for found in torch.sort(x, dim=d, descending=r, stable=True)
            ),
            whole_numbers=True,
        )
        for k, dim, largest, type in (
            (2, 1, False, f32(4, 6, 9)),
            (3, 2, True, f32(4, 6, 9)),
            (6, 0, True, i32(6, 4)),
            (1, 0, False, i32(6, 4)),
        )
    ],
    *[
        Sample(op("prod", dims=(1,), keepdim=keepdim), (type,), lambda x, k=keepdim: x.prod(1, keepdim=k))
        for type, keepdim in ((f32(4, 6, 9), False), (i32(4, 3), False), (boolean(9, 2), True))
    ],
    Sample(op("prod", dims=(0, 1), keepdim=False), (f32(2, 3),), torch.prod),
]


def scattered(name: str, reduce: str | None) -> list[Sample]:
    """Into a tensor as large as the source along the other axes, and into a larger one."""

    def reference(x: Tensor, index: Tensor, src: Tensor, dim: int) -> Tensor:
        if reduce is None:
            return x.scatter(dim, index.long(), src)
        return x.scatter_reduce(dim, index.long(), src, reduce)

    return [
        Sample(
            op(name, dim=dim),
            (x, i32(*src.shape), src),
            lambda a, i, b, d=dim: reference(a, i, b, d),
            below=x.shape[dim],
            index=True,
        )
        for dim, x, src in ((1, f32(4, 10, 9), f32(4, 6, 9)), (0, f32(10, 8), f32(4, 6)), (0, i32(9, 4), i32(6, 4)))
    ]


SCATTERED = [
    *scattered("scatter", None),
    *scattered("scatter_add", "sum"),
    *scattered("scatter_max", "amax"),
    *scattered("scatter_min", "amin"),
    *scattered("scatter_mul", "prod"),
]

WORD = (1 << 64) - 1


def mixed(*parts: int) -> int:
    """The generator's key, from its definition."""
    state = 0
    for part in parts:
        state = ((state + (part % (1 << 32)) + 1) * 0x9E3779B97F4A7C15) & WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
        state ^= state >> 31
    return state | 1


def squares(counter: int, key: int) -> int:
    """24 random bits, as the generator's paper has it."""
    x = y = counter * key & WORD
    z = (y + key) & WORD
    for added in (y, z, y):
        x = (x * x + added) & WORD
        x = ((x >> 32) | (x << 32)) & WORD
    return ((x * x + z) & WORD) >> 40


def drawn(key: tuple[Tensor, ...], offsets: tuple[Tensor, ...]) -> Array:
    """The random bits of every position, one by one."""
    total = functools.reduce(np.add, np.ix_(*(axis.numpy().astype(object) for axis in offsets)), 0)
    seeded = mixed(*(int(part) for part in key))
    return np.vectorize(lambda position: squares(int(position), seeded), otypes=[np.float64])(total)


def uniform(*operands: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(drawn(operands[:3], operands[3:]) * 2.0**-24, np.float32))


def keep(rate: Tensor, *operands: Tensor) -> Tensor:
    return torch.from_numpy(drawn(operands[:3], operands[3:]) >= round(float(rate) * 2**24))


KEY: tuple[TensorType, ...] = (i32(), i32(), i32())

RANDOM = [
    Sample(op("uniform", dtype=DType.F32), (*KEY, i32(4), i32(6), i32(9)), uniform, below=1000, index=True),
    Sample(op("uniform", dtype=DType.F32), KEY, lambda *key: uniform(*key), below=1000, index=True),
    Sample(op("keep_mask"), (f32(), *KEY, i32(4), i32(6)), keep, below=1000, index=True),
]


def by_group(x: Tensor, w: Tensor, group: Tensor) -> Tensor:
    """Each row times its group's matrix; groups 5 and more have none."""
    return torch.stack([row @ w[g] if g < len(w) else row.new_zeros(w.shape[2]) for row, g in zip(x, group)])


def outer_by_group(groups: int, x: Tensor, dy: Tensor, group: Tensor) -> Tensor:
    return torch.einsum("me,mk,mn->ekn", torch.eye(8)[group.long()][:, :groups], x, dy)


GROUPED = [
    Sample(op("grouped_matmul", dtype=DType.F32), (f32(12, 6), f32(5, 6, 9), i32(12)), by_group, below=6, index=True),
    Sample(
        op("grouped_outer", groups=5, dtype=DType.F32),
        (f32(12, 6), f32(12, 9), i32(12)), partial(outer_by_group, 5), below=6, index=True,
    ),
]  # fmt: skip

SPECIAL = [
    Sample(op("erfc"), (f32(4, 6),), torch.erfc),
    Sample(op("erfinv"), (f32(4, 6),), lambda x: torch.erfinv(x)),
    Sample(op("lgamma"), (f32(4, 6),), torch.lgamma),
    Sample(op("digamma"), (f32(4, 6),), torch.digamma, positive=True),
    Sample(op("polygamma", n=1), (f32(4, 6),), partial(torch.polygamma, 1), positive=True),
    Sample(op("polygamma", n=2), (f32(4, 6),), partial(torch.polygamma, 2), positive=True),
]

MORE_SAMPLES = [*ROUNDED, *INTEGERS, *CHECKED, *ORDERED, *SCATTERED, *RANDOM, *GROUPED, *SPECIAL]
