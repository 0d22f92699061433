"""Layer normalisation over trailing axes, and its gradient."""

from __future__ import annotations

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.rows import dot_along, dot_rows, sum_over
from ir.space import Axis, Space
from ir.types import TensorType


class RowNormalisation(Op):
    """Normalises rows: the last `axes` axes of x."""

    axes: int

    def rows(self, x: TensorType) -> TensorType:
        """The type of one number per row."""
        return x.with_shape((*x.shape[: -self.axes], *[1] * self.axes))

    def check(self, x: TensorType, **parameters: TensorType) -> None:
        """Raise ValueError where x has no such rows, or a parameter does not have the shape of one."""
        if not 1 <= self.axes <= x.rank:
            raise ValueError(f"{x} does not have {self.axes} axes to normalise")
        for name, parameter in parameters.items():
            if parameter.shape != x.shape[-self.axes :]:
                raise ValueError(f"{name} {parameter} does not match the last {self.axes} axes of {x}")

    def row_axes(self, x: TensorType) -> tuple[int, ...]:
        """The normalised axes."""
        return tuple(range(x.rank - self.axes, x.rank))

    @limit
    def floats_only(self, *operands: TensorType) -> bool:
        "layer normalisation takes floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


@op("layer_norm")
class LayerNorm(RowNormalisation):
    """(x - mean) * rstd * gamma + beta, where rstd = 1 / sqrt(variance + eps), over the last `axes` axes.

    Also results: mean and rstd, one number per row, for the gradient.
    """

    axes: int
    eps: float
    cost = Cost(CostClass.REDUCE, operations=7, passes=3, tail=True)

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> tuple[TensorType, ...]:
        self.check(x, gamma=gamma, beta=beta)
        return x, self.rows(x), self.rows(x)

    def space(self, x: TensorType, gamma: TensorType, beta: TensorType) -> Space:
        full, row, rows, sizes, whole = _row_space(x, self.axes)
        return Space((full, row, row), (full, rows, rows), sizes, whole)

    def scratch(self, x: TensorType, gamma: TensorType, beta: TensorType) -> tuple[TensorType, ...]:
        return (gamma,)

    def kernel(self, x: Array, gamma: Array, beta: Array, y: Array, mean: Array, rstd: Array, share: Array) -> None:
        share.fill(1 / share.size)
        dot_along(x, share, mean)
        np.subtract(x, mean, out=y)
        rows = y.reshape(*y.shape[: -self.axes], share.size)
        dot_rows(rows, rows, rstd.reshape(*rows.shape[:-1], 1))
        np.multiply(rstd, 1 / share.size, out=rstd)
        np.add(rstd, self.eps, out=rstd)
        np.sqrt(rstd, out=rstd)
        np.divide(1, rstd, out=rstd)
        np.multiply(y, rstd, out=y)
        np.multiply(y, gamma, out=y)
        np.add(y, beta, out=y)


@op("layer_norm_backward")
class LayerNormBackward(RowNormalisation):
    """Gradients of x, gamma and beta. With h = (x - mean) * rstd and g = dy * gamma, means taken along rows:
    dx = rstd * (g - mean(g) - h * mean(g * h)), dgamma = sum of dy * h over rows, dbeta = sum of dy over rows."""

    axes: int
    cost = Cost(CostClass.REDUCE, operations=11, passes=3)

    def infer(
        self, dy: TensorType, x: TensorType, mean: TensorType, rstd: TensorType, gamma: TensorType
    ) -> tuple[TensorType, ...]:
        self.check(x, gamma=gamma)
        if dy.shape != x.shape:
            raise ValueError(f"the gradient {dy} does not have the shape of {x}")
        for name, statistic in (("mean", mean), ("rstd", rstd)):
            if statistic.shape != self.rows(x).shape:
                raise ValueError(f"{name} {statistic} does not hold one number per row of {x}")
        return x, gamma, gamma

    def space(self, dy: TensorType, x: TensorType, mean: TensorType, rstd: TensorType, gamma: TensorType) -> Space:
        full, row, rows, sizes, whole = _row_space(x, self.axes)
        return Space((full, full, rows, rows, row), (full, row, row), sizes, whole)

    def scratch(self, dy: TensorType, x: TensorType, *others: TensorType) -> tuple[TensorType, ...]:
        return x, x, self.rows(x), others[-1], x.with_shape((self.rows(x).numel,))

    def kernel(
        self,
        dy: Array,
        x: Array,
        mean: Array,
        rstd: Array,
        gamma: Array,
        dx: Array,
        dgamma: Array,
        dbeta: Array,
        normalised: Array,
        product: Array,
        row: Array,
        weights: Array,
        ones: Array,
    ) -> None:
        np.multiply(gamma, 1 / gamma.size, out=weights)
        np.subtract(x, mean, out=normalised)
        np.multiply(normalised, rstd, out=normalised)
        np.multiply(dy, normalised, out=product)
        sum_over(dy, ones, dbeta)
        sum_over(product, ones, dgamma)
        dot_along(product, weights, row)
        np.multiply(normalised, row, out=normalised)
        dot_along(dy, weights, row)
        np.add(normalised, row, out=normalised)
        np.multiply(dy, gamma, out=dx)
        np.subtract(dx, normalised, out=dx)
        np.multiply(dx, rstd, out=dx)


def _row_space(
    x: TensorType, axes: int
) -> tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...], dict[str, int], frozenset[str]]:
    """The axes of x, of one row, and of one number per row; the sizes of all dims; and those of a row, held whole."""
    names = [f"d{axis}" for axis in range(x.rank)]
    full = tuple(Axis((name,)) for name in names)
    rows = (*full[:-axes], *[Axis(())] * axes)
    return full, full[-axes:], rows, dict(zip(names, x.shape)), frozenset(names[-axes:])
