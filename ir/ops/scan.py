"""Running results along one axis: each element combines all up to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ir.kernels.native import LEAST_LINES, load
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ranges import Range, hull
from ir.space import Space
from ir.types import DType, TensorType


class Scan(Op):
    """A running result along the axis `dim`, which a tile holds whole."""

    dim: int
    cost: ClassVar[Cost] = Cost(CostClass.REDUCE)
    whole = "each result needs all those before it"

    def infer(self, x: TensorType) -> TensorType:
        if not 0 <= self.dim < x.rank:
            raise ValueError(f"{x} has no axis {self.dim}")
        return x

    def space(self, x: TensorType) -> Space:
        return Space.elementwise((x,), x, whole=(self.dim,))

    @limit
    def numbers_only(self, x: TensorType) -> bool:
        "the operator takes a floating-point or i32 tensor"
        return x.dtype.is_float or x.dtype is DType.I32


@op("cumsum")
class Cumsum(Scan):
    """The sum of all elements up to each."""

    dim: int

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        (of,), (x,) = ranges, operands
        return of and hull((of, (of[0] * x.shape[self.dim], of[1] * x.shape[self.dim])))

    def kernel(self, x: Array, out: Array) -> None:
        rows = [array.reshape(-1, x.shape[-1]) for array in (x, out)] if x.size and self.dim == x.ndim - 1 else []
        are_taken = x.size >= LEAST_LINES and x.dtype == np.float32 and x.flags.writeable
        are_views = all(np.may_share_memory(view, array) for view, array in zip(rows, (x, out)))
        if rows and are_taken and are_views and (loops := load("rows")):
            loops.running_sums(*rows)
            return
        np.cumsum(x, axis=self.dim, dtype=out.dtype, out=out)


@op("cumprod")
class Cumprod(Scan):
    """The product of all elements up to each."""

    dim: int

    def kernel(self, x: Array, out: Array) -> None:
        np.cumprod(x, axis=self.dim, dtype=out.dtype, out=out)


@op("logcumsumexp")
class Logcumsumexp(Scan):
    """The logarithm of the sum of the exponentials of all elements up to each."""

    dim: int
    cost = Cost(CostClass.REDUCE, operations=5, tail=True)

    @limit
    def float_only(self, x: TensorType) -> bool:
        "the operator takes a floating-point tensor"
        return x.dtype.is_float

    def kernel(self, x: Array, out: Array) -> None:
        out[...] = np.logaddexp.accumulate(x, axis=self.dim, dtype=np.float64)


class RunningExtremum(Scan):
    """The largest or smallest element up to each, and the index of the last that equals it."""

    cost = Cost(CostClass.REDUCE, operations=3)

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return super().infer(x), x.with_dtype(DType.I32)

    def space(self, x: TensorType) -> Space:
        one = Space.elementwise((x,), x, whole=(self.dim,))
        return Space(one.operands, one.results * 2, one.sizes, one.whole)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (x.with_dtype(DType.BOOL),)

    def locate(self, x: Array, out: Array, index: Array, reached: Array) -> None:
        """The index of the last element so far that is the running extremum, or NaN as it is."""
        np.equal(x, out, out=reached)
        np.logical_or(reached, np.isnan(x), out=reached) if x.dtype.kind == "f" else None
        positions = np.arange(x.shape[self.dim], dtype=np.int32)
        shape = [1] * x.ndim
        shape[self.dim] = -1
        np.multiply(reached, positions.reshape(shape), out=index)
        np.maximum.accumulate(index, axis=self.dim, out=index)


@op("cummax")
class Cummax(RunningExtremum):
    """The largest element up to each, and the index of the last that equals it."""

    dim: int

    def kernel(self, x: Array, out: Array, index: Array, reached: Array) -> None:
        np.maximum.accumulate(x, axis=self.dim, out=out)
        self.locate(x, out, index, reached)


@op("cummin")
class Cummin(RunningExtremum):
    """The smallest element up to each, and the index of the last that equals it."""

    dim: int

    def kernel(self, x: Array, out: Array, index: Array, reached: Array) -> None:
        np.minimum.accumulate(x, axis=self.dim, out=out)
        self.locate(x, out, index, reached)
