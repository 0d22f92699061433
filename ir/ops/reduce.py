"""Reductions along axes: lanes fold among themselves, tiles of a cut axis are combined by the same operation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ir.kernels.rows import extrema_along, ones_along, square_sum_along, sum_along
from ir.op import Array, Combine, Cost, CostClass, Op, limit, op
from ir.ranges import Range
from ir.space import Axis, Space
from ir.types import DType, TensorType


class Reduction(Op):
    """Folds the axes `dims`, which stay with extent one where `keepdim`."""

    dims: tuple[int, ...]
    keepdim: bool
    cost: ClassVar[Cost] = Cost(CostClass.REDUCE)

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape(_reduced_shape(x, self.dims, self.keepdim))

    def space(self, x: TensorType) -> Space:
        return reduced_space(x, self.dims, self.keepdim)


class Extremum(Reduction):
    """The largest or smallest element."""

    function: ClassVar[np.ufunc]
    is_elementwise: ClassVar[bool] = True
    any_layout: ClassVar[bool] = True

    def kernel(self, x: Array, out: Array) -> None:
        if not extrema_along(x, self.dims, self.function is np.maximum, out):
            self.function.reduce(x, axis=self.dims, out=out, keepdims=self.keepdim)

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

    @limit
    def numbers_only(self, x: TensorType) -> bool:
        "the operator takes a floating-point or i32 tensor"
        return x.dtype.is_float or x.dtype is DType.I32

    @limit
    def something_to_reduce(self, x: TensorType) -> bool:
        "a tensor without elements has no largest or smallest one"
        return x.numel > 0


@op("sum")
class Sum(Reduction):
    """Sum along axes, accumulated in float32; integers and truth values are summed as i32."""

    dims: tuple[int, ...]
    keepdim: bool

    def infer(self, x: TensorType) -> TensorType:
        return super().infer(x).with_dtype(x.dtype if x.dtype.is_float else DType.I32)

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        (of,), (x,) = ranges, operands
        count = math.prod(x.shape[dim] for dim in self.dims)
        return of and (of[0] * count, of[1] * count)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (x.with_shape((ones_along(x.shape, self.dims),)),)

    def kernel(self, x: Array, out: Array, ones: Array) -> None:
        if x.dtype == np.float32:
            sum_along(x, self.dims, self.keepdim, ones, out)
        else:
            np.add.reduce(x, axis=self.dims, dtype=out.dtype, out=out, keepdims=self.keepdim)


@op("sum_square")
class SumSquare(Reduction):
    """Sum of squares along axes, accumulated in float32."""

    dims: tuple[int, ...]
    keepdim: bool
    cost = Cost(CostClass.REDUCE, operations=2)

    def kernel(self, x: Array, out: Array) -> None:
        shape = tuple(1 if dim in self.dims else extent for dim, extent in enumerate(x.shape))
        square_sum_along(x, self.dims, out.reshape(shape))

    @limit
    def floats_only(self, x: TensorType) -> bool:
        "a sum of squares takes a floating-point tensor"
        return x.dtype.is_float


@op("amax")
class Amax(Extremum):
    """Largest element along axes."""

    dims: tuple[int, ...]
    keepdim: bool
    combine = Combine.MAX
    function = np.maximum


@op("amin")
class Amin(Extremum):
    """Smallest element along axes."""

    dims: tuple[int, ...]
    keepdim: bool
    combine = Combine.MIN
    function = np.minimum


@op("prod")
class Prod(Reduction):
    """Product along axes, which a tile holds whole; integers and truth values are multiplied as i32."""

    dims: tuple[int, ...]
    keepdim: bool
    whole = "partial results are combined by sum, maximum and minimum alone"

    def infer(self, x: TensorType) -> TensorType:
        return super().infer(x).with_dtype(x.dtype if x.dtype.is_float else DType.I32)

    def space(self, x: TensorType) -> Space:
        return reduced_space(x, self.dims, self.keepdim, held=True)

    def kernel(self, x: Array, out: Array) -> None:
        np.multiply.reduce(x, axis=self.dims, dtype=out.dtype, out=out, keepdims=self.keepdim)


@op("argmax")
class Argmax(Op):
    """Index, along one axis, of the first largest element."""

    dim: int
    keepdim: bool
    cost = Cost(CostClass.REDUCE, operations=2)
    whole = "the result is a place, counted from the start of the axis"

    def infer(self, x: TensorType) -> TensorType:
        return TensorType(DType.I32, _reduced_shape(x, (self.dim,), self.keepdim))

    def space(self, x: TensorType) -> Space:
        return reduced_space(x, (self.dim,), self.keepdim, held=True)

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return 0, max(operands[0].shape[self.dim] - 1, 0)

    def kernel(self, x: Array, out: Array) -> None:
        out[...] = np.argmax(x, axis=self.dim, keepdims=self.keepdim)

    @limit
    def something_to_reduce(self, x: TensorType) -> bool:
        "a tensor without elements has no largest one"
        return x.numel > 0


def _reduced_shape(x: TensorType, dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape after reducing `dims`. Raises ValueError where x lacks one of them."""
    if not dims or len(set(dims)) != len(dims) or not all(0 <= dim < x.rank for dim in dims):
        raise ValueError(f"{list(dims)} are not axes of {x}")
    return tuple(1 if dim in dims else extent for dim, extent in enumerate(x.shape) if keepdim or dim not in dims)


def reduced_space(x: TensorType, dims: tuple[int, ...], keepdim: bool, held: bool = False) -> Space:
    """The axes of x, and those that stay; the reduced ones are held whole where `held`."""
    names = [f"d{axis}" for axis in range(x.rank)]
    kept = [Axis(() if dim in dims else (name,)) for dim, name in enumerate(names) if keepdim or dim not in dims]
    whole = frozenset(names[dim] for dim in dims) if held else frozenset()
    return Space((tuple(Axis((name,)) for name in names),), (tuple(kept),), dict(zip(names, x.shape)), whole)
