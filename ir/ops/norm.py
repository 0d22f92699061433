"""Layer normalisation over trailing axes, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ir.kernels.blocks import row_block_of, row_blocks
from ir.kernels.native import are_lines, line_parts, load
from ir.kernels.rows import contiguous_rows, dot_along, dot_rows, outer_sum, sum_over
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.space import Axis, Space
from ir.types import TensorType


class RowNormalisation(Op):
    """Normalises rows: the last `axes` axes of x."""

    axes: int
    any_layout = True
    whole = "every element along the axis has a part in each result"

    def rows(self, x: TensorType) -> TensorType:
        """The type of one number per row."""
        return x.with_shape((*x.shape[: -self.axes], *[1] * self.axes))

    def row_pairs(self, x: TensorType) -> TensorType:
        """The type of a temporary array with two numbers per row."""
        return x.with_shape((self.rows(x).numel, 2))

    def check(self, x: TensorType, **parameters: TensorType) -> None:
        """Raise ValueError where x has no such rows, or a parameter does not have the shape of one."""
        if not 1 <= self.axes <= x.rank:
            raise ValueError(f"{x} does not have {self.axes} axes to normalise")
        for name, parameter in parameters.items():
            if parameter.shape != x.shape[-self.axes :]:
                raise ValueError(f"{name} {parameter} does not match the last {self.axes} axes of {x}")

    def _parts(self, indices: Sequence[tuple[int, ...]], count: int, *arrays: Array) -> Iterator[list[Array]]:
        """Parts of arrays that loops take; where the first `count` do not lie in lines, in blocks of rows to copy."""
        for index in indices:
            part = [array[index] for array in arrays]
            yield from [part] if are_lines(*part[:count]) else row_blocks(self.axes, part, ())

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
        block = row_block_of(x, self.axes)
        parameters, share = gamma.with_shape((3, gamma.numel)), gamma
        return parameters, share, self.row_pairs(x), block, block

    def kernel(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        y: Array,
        mean: Array,
        rstd: Array,
        parameters: Array,
        share: Array,
        pairs: Array,
        scale: Array,
        shift: Array,
    ) -> None:
        loops, length = load("rows"), gamma.size
        written = y, mean, rstd
        parts = line_parts(self.axes, x, *written) or line_parts(self.axes, *written)
        if loops is not None and are_lines(gamma, beta) and parts:
            for source, made, means, deviations in self._parts(parts, 1, x, *written):
                matrices = (contiguous_rows(source, length, scale), gamma.reshape(-1), beta.reshape(-1))
                results = (made.reshape(-1, length), means.reshape(-1), deviations.reshape(-1))
                loops.normalise(*matrices, np.float32(self.eps), *results)
            return
        share.fill(1 / share.size)
        for row, values in enumerate((0, gamma.reshape(-1), beta.reshape(-1))):
            parameters[row] = values
        for rows in row_blocks(self.axes, (x, y, mean, rstd), (scale, shift)):
            self._normalise(rows, parameters, share, pairs)

    def _normalise(self, rows: Sequence[Array], parameters: Array, share: Array, pairs: Array) -> None:
        """A block of rows: y = x * scale + shift, with scale = rstd * gamma and shift = beta - mean * scale.

        Where a mean is larger than the deviation, x - mean takes the place of x, lest digits cancel.
        """
        x, y, mean, rstd, scale, shift = rows
        dot_along(x, share, mean)
        _mean_square(x, rstd, share.ndim)
        square = np.square(mean)
        np.subtract(rstd, square, out=rstd)
        source, offset = x, np.negative(mean)
        if not np.all(square <= rstd):
            source, offset = np.subtract(x, mean, out=shift), np.zeros_like(mean)
            _mean_square(source, rstd, share.ndim)
        np.add(rstd, self.eps, out=rstd)
        np.sqrt(rstd, out=rstd)
        np.divide(1, rstd, out=rstd)
        outer_sum(0, rstd, parameters[:2], pairs, scale)
        np.multiply(source, scale, out=scale)
        outer_sum(np.multiply(offset, rstd), 1, parameters[1:], pairs, shift)
        np.add(scale, shift, out=y)


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
        block, gamma = row_block_of(x, self.axes), others[-1]
        return block, block, gamma.with_shape((2, gamma.numel)), gamma, gamma, self.row_pairs(x)

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
        centred: Array,
        product: Array,
        parameters: Array,
        weights: Array,
        share: Array,
        pairs: Array,
    ) -> None:
        for total in (dgamma, dbeta):
            total.fill(0)
        loops, length = load("rows"), gamma.size
        others = mean, rstd, dx
        parts = line_parts(self.axes, dy, x, *others) or line_parts(self.axes, *others)
        if loops is not None and are_lines(gamma, dgamma, dbeta) and parts:
            totals = (dgamma.reshape(-1), dbeta.reshape(-1))
            for given, pixels, means, deviations, made in self._parts(parts, 2, dy, x, *others):
                matrices = contiguous_rows(given, length, centred), contiguous_rows(pixels, length, product)
                lines = (means.reshape(-1), deviations.reshape(-1), gamma.reshape(-1))
                loops.normalise_gradient(*matrices, *lines, made.reshape(-1, length), *totals)
            return
        np.multiply(gamma, 1 / gamma.size, out=weights)
        for row, values in enumerate((0, gamma.reshape(-1))):
            parameters[row] = values
        for rows in row_blocks(self.axes, (dy, x, mean, rstd, dx), (centred, product)):
            given, pixels, means, deviations, made, *own = rows
            np.subtract(pixels, means, out=own[0])
            np.multiply(given, own[0], out=own[1])
            self._add_parameters(given, own[1], deviations, pairs.reshape(-1), share, dgamma, dbeta)
            _input_gradient(given, deviations, parameters, weights, pairs, made, *own)

    def _add_parameters(
        self,
        dy: Array,
        product: Array,
        rstd: Array,
        factors: Array,
        share: Array,
        dgamma: Array,
        dbeta: Array,
    ) -> None:
        """Add the shares of a block of rows in the gradients of gamma and beta; `product` is dy * (x - mean)."""
        factors = factors[: rstd.size]
        np.copyto(factors.reshape(rstd.shape), rstd)
        np.matmul(factors, product.reshape(rstd.size, -1), out=share.reshape(-1))
        np.add(dgamma, share, out=dgamma)
        sum_over(dy, factors, share)
        np.add(dbeta, share, out=dbeta)


def _input_gradient(
    dy: Array,
    rstd: Array,
    parameters: Array,
    weights: Array,
    pairs: Array,
    dx: Array,
    centred: Array,
    product: Array,
) -> None:
    """dx of a block of rows, from dy, x - mean and their product; `weights` are gamma divided by a row's length."""
    along, slope = np.empty_like(rstd), np.empty_like(rstd)
    dot_along(product, weights, slope)
    dot_along(dy, weights, along)
    for _ in range(3):
        np.multiply(slope, rstd, out=slope)
    np.multiply(along, rstd, out=along)
    np.multiply(centred, slope, out=centred)
    np.add(centred, along, out=centred)
    outer_sum(0, rstd, parameters, pairs, product)
    np.multiply(dy, product, out=product)
    np.subtract(product, centred, out=dx)


def _mean_square(x: Array, out: Array, axes: int) -> None:
    """The mean of the squares of each row, the last `axes` axes of x."""
    lead = x.shape[: x.ndim - axes]
    rows = x.reshape(*lead, -1)
    dot_rows(rows, rows, out.reshape(*lead, 1))
    np.multiply(out, 1 / rows.shape[-1], out=out)


def _row_space(
    x: TensorType, axes: int
) -> tuple[tuple[Axis, ...], tuple[Axis, ...], tuple[Axis, ...], dict[str, int], frozenset[str]]:
    """The axes of x, of one row, and of one number per row; the sizes of all dims; and those of a row, held whole."""
    names = [f"d{axis}" for axis in range(x.rank)]
    full = tuple(Axis((name,)) for name in names)
    rows = (*full[:-axes], *[Axis(())] * axes)
    return full, full[-axes:], rows, dict(zip(names, x.shape)), frozenset(names[-axes:])
