"""Products of rows with the matrix each of them belongs to: what mixtures of experts compute."""

from __future__ import annotations

import numpy as np

from ir.op import Array, Cost, CostClass, Gemm, Op, limit, op
from ir.space import Space
from ir.types import DType, TensorType


class Grouped(Op):
    """An operator whose last operand says which of several groups each row belongs to; a row may belong to none.

    The work is counted for rows that are spread evenly over the groups, each of which fills its own blocks.
    """

    dtype: DType
    whole = "a row may belong to any group"

    @limit
    def numbers(self, *operands: TensorType) -> bool:
        "a grouped product takes floating-point matrices"
        return self.dtype.is_float and all(operand.dtype.is_float for operand in operands[:-1])

    @limit
    def whole_group(self, *operands: TensorType) -> bool:
        "the number of a row's group is an i32"
        return operands[-1].dtype is DType.I32


@op("grouped_matmul")
class GroupedMatmul(Grouped):
    """Each row times the matrix of its group: y[m] = x[m] w[group[m]], and zeros where there is no such group."""

    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)
    tables = (1,)
    any_layout = True

    def infer(self, x: TensorType, w: TensorType, group: TensorType) -> TensorType:
        if x.rank != 2 or w.rank != 3 or x.shape[1] != w.shape[1]:
            raise ValueError(f"rows {list(x.shape)} cannot be multiplied by matrices {list(w.shape)}")
        if group.shape != x.shape[:1]:
            raise ValueError(f"{group} does not hold one group for each row of {x}")
        return TensorType(self.dtype, (x.shape[0], w.shape[2]))

    def space(self, x: TensorType, w: TensorType, group: TensorType) -> Space:
        return Space.parse("m k, e! k n, m -> m n", (x, w, group), (self.infer(x, w, group),))

    def kernel(self, x: Array, w: Array, group: Array, out: Array) -> None:
        out.fill(0)
        for number, rows in _rows(group, len(w)):
            out[rows] = x[rows] @ w[number]

    def gemm(self, x: TensorType, w: TensorType, group: TensorType) -> Gemm:
        groups, rows = _spread(x.shape[0], w.shape[0])
        return Gemm(groups, rows, w.shape[2], w.shape[1])


@op("grouped_outer")
class GroupedOuter(Grouped):
    """The sum over each group's rows of their outer products: y[e] = sum of x[m]^T dy[m] where group[m] is e."""

    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)
    any_layout = True

    def infer(self, x: TensorType, dy: TensorType, group: TensorType) -> TensorType:
        if x.rank != 2 or dy.rank != 2 or not x.shape[0] == dy.shape[0] == group.numel or group.rank != 1:
            raise ValueError(f"{x}, {dy} and {group} do not have one row each for the same things")
        return TensorType(self.dtype, (self.groups, x.shape[1], dy.shape[1]))

    def space(self, x: TensorType, dy: TensorType, group: TensorType) -> Space:
        return Space.parse("m k, m n, m -> e! k n", (x, dy, group), (self.infer(x, dy, group),))

    def kernel(self, x: Array, dy: Array, group: Array, out: Array) -> None:
        out.fill(0)
        for number, rows in _rows(group, self.groups):
            out[number] = x[rows].T @ dy[rows]

    def gemm(self, x: TensorType, dy: TensorType, group: TensorType) -> Gemm:
        groups, rows = _spread(x.shape[0], self.groups)
        return Gemm(groups, x.shape[1], dy.shape[1], rows)


def _rows(group: Array, groups: int) -> list[tuple[int, Array]]:
    """The groups that have rows, with these."""
    found = [(number, np.flatnonzero(group == number)) for number in range(groups)]
    return [(number, rows) for number, rows in found if rows.size]


def _spread(rows: int, groups: int) -> tuple[int, int]:
    """How many groups have rows, and how many, where they are spread evenly."""
    used = max(1, min(rows, groups))
    return used, -(-rows // used)
