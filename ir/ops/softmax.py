"""Softmax, its logarithm, and their gradients, along one axis that a tile holds whole.

Compiled loops go over rows that follow one another in memory (`ir/kernels/native/rows.py`), and over columns
(`ir/kernels/native/columns.py`); NumPy over what lies otherwise. What
lies between its passes is kept in contiguous arrays: parts of a large tensor, a power of two apart, would drive each
other out of the cache.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ir.kernels.native import as_columns, line_parts, line_places, load
from ir.kernels.rows import dot_rows, sum_along
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.space import Space
from ir.types import TensorType

SMALLEST_SUM, LARGEST_SUM = 1e-6, 1e30
"""Sums of exponentials between which softmax need not subtract the row's maximum first: no exponential has
overflowed, and none that matters beside the sum has vanished. NaN lies outside."""
LIMITS = SMALLEST_SUM, LARGEST_SUM
SHORT_ROW = 8
"""Columns side by side from which loops over them are worth it."""


class AlongAxis(Op):
    """Operands and result of one type, computed along the axis `dim`."""

    dim: int
    any_layout = True
    whole = "every element along the axis has a part in each result"

    def infer(self, *operands: TensorType) -> TensorType:
        first = operands[0]
        if not 0 <= self.dim < first.rank:
            raise ValueError(f"{first} has no axis {self.dim}")
        return first

    def space(self, *operands: TensorType) -> Space:
        return Space.elementwise(operands, operands[0], whole=(self.dim,))

    def in_loops(self, name: str, *arrays: Array, limits: tuple[float, ...] = ()) -> bool:
        """Compute by the compiled loop of this name from operands to a result; False, and nothing done, where it does
        not take them. Rows by themselves need `limits`."""
        if self.dim != arrays[0].ndim - 1:
            loops, columns = load("columns"), as_columns(self.dim, *arrays)
            if loops is None or columns is None or columns[0].shape[2] < SHORT_ROW:
                return False
            getattr(loops, name)(*columns)
            return True
        loops = load("rows")
        parts = line_parts(1, *arrays) if loops is not None else []
        if parts:
            length = arrays[0].shape[-1]
            rows = arrays[0].size // (length * len(parts))
            getattr(loops, f"{name}_parts")(line_places(parts, *arrays), rows, length, *limits)
        return bool(parts)

    def row_sum(self, x: TensorType) -> tuple[TensorType, TensorType]:
        """The types of one number per row, and of the vector that a sum along rows is a product with."""
        row = x.with_shape((*x.shape[: self.dim], 1, *x.shape[self.dim + 1 :]))
        return row, x.with_shape((x.shape[self.dim],))

    @limit
    def floats_only(self, *operands: TensorType) -> bool:
        "softmax and its gradient take floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


class Forward(AlongAxis):
    """Three passes: the maximum, the exponentials and their sum, the normalisation."""

    cost: ClassVar[Cost] = Cost(CostClass.REDUCE, operations=5, passes=3, tail=True)

    def infer(self, x: TensorType) -> TensorType:
        return super().infer(x)


class Backward(AlongAxis):
    """Two passes: the sum, then the difference from it."""

    def infer(self, dy: TensorType, y: TensorType) -> TensorType:
        if dy != y:
            raise ValueError(f"the gradient {dy} and the result {y} differ")
        return super().infer(y)


@op("softmax")
class Softmax(Forward):
    """exp(x - max) / sum, along one axis."""

    dim: int

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (x, *self.row_sum(x))

    def kernel(self, x: Array, out: Array, exponential: Array, row: Array, ones: Array) -> None:
        if self.in_loops("softmax", x, out, limits=LIMITS):
            return
        np.exp(x, out=exponential)
        sum_along(exponential, (self.dim,), True, ones, row)
        if not (row.min(initial=1) > SMALLEST_SUM and row.max(initial=1) < LARGEST_SUM):
            np.maximum.reduce(x, axis=self.dim, keepdims=True, out=row)
            np.subtract(x, row, out=exponential)
            np.exp(exponential, out=exponential)
            sum_along(exponential, (self.dim,), True, ones, row)
        np.divide(1, row, out=row)
        np.multiply(exponential, row, out=out)


@op("log_softmax")
class LogSoftmax(Forward):
    """x - max - log(sum(exp(x - max))), along one axis."""

    dim: int

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (x, x, *self.row_sum(x))

    def kernel(self, x: Array, out: Array, centred: Array, exponential: Array, row: Array, ones: Array) -> None:
        if self.in_loops("log_softmax", x, out, limits=LIMITS):
            return
        np.maximum.reduce(x, axis=self.dim, keepdims=True, out=row)
        np.subtract(x, row, out=centred)
        np.exp(centred, out=exponential)
        sum_along(exponential, (self.dim,), True, ones, row)
        np.log(row, out=row)
        np.subtract(centred, row, out=out)


@op("softmax_backward")
class SoftmaxBackward(Backward):
    """y * (dy - sum(dy * y)), where y = softmax(x)."""

    dim: int
    cost = Cost(CostClass.REDUCE, operations=4, passes=2)

    def scratch(self, dy: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        return (y, *self.row_sum(y))

    def kernel(self, dy: Array, y: Array, out: Array, share: Array, row: Array, ones: Array) -> None:
        if self.in_loops("softmax_gradient", dy, y, out):
            return
        if self.dim == y.ndim - 1:
            dot_rows(dy, y, row)
        else:
            np.multiply(dy, y, out=share)
            sum_along(share, (self.dim,), True, ones, row)
        np.subtract(dy, row, out=share)
        np.multiply(share, y, out=out)


@op("log_softmax_backward")
class LogSoftmaxBackward(Backward):
    """dy - exp(y) * sum(dy), where y = log_softmax(x)."""

    dim: int
    cost = Cost(CostClass.REDUCE, operations=4, passes=2, tail=True)

    def scratch(self, dy: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        return (y, *self.row_sum(y))

    def kernel(self, dy: Array, y: Array, out: Array, share: Array, row: Array, ones: Array) -> None:
        if self.in_loops("log_softmax_gradient", dy, y, out):
            return
        sum_along(dy, (self.dim,), True, ones, row)
        np.exp(y, out=share)
        np.multiply(share, row, out=share)
        np.subtract(dy, share, out=out)
