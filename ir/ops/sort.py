"""Ordering along one axis."""

from __future__ import annotations

import numpy as np

from ir.op import Array, Cost, CostClass, Op, op
from ir.space import Space
from ir.types import DType, TensorType


@op("sort")
class Sort(Op):
    """Elements in ascending or descending order along one axis, and where each was; equal ones stay in order.

    NaN counts as larger than everything.
    """

    dim: int
    descending: bool
    cost = Cost(CostClass.GATHER, operations=16, passes=2)

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if not 0 <= self.dim < x.rank:
            raise ValueError(f"{x} has no axis {self.dim}")
        return x, x.with_dtype(DType.I32)

    def space(self, x: TensorType) -> Space:
        one = Space.elementwise((x,), x, whole=(self.dim,))
        return Space(one.operands, one.results * 2, one.sizes, one.whole)

    def kernel(self, x: Array, out: Array, index: Array) -> None:
        if self.descending:  # the ascending order of the axis reversed, read backwards, keeps equal ones in order
            order = np.argsort(np.flip(x, self.dim), axis=self.dim, kind="stable")
            np.subtract(x.shape[self.dim] - 1, np.flip(order, self.dim), out=index, casting="unsafe")
        else:
            np.copyto(index, np.argsort(x, axis=self.dim, kind="stable"), casting="unsafe")
        np.copyto(out, np.take_along_axis(x, index, self.dim))
