"""Reading and adding up by index: the data-dependent operators, done by address generators."""

from __future__ import annotations

import math

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.layout import in_order
from ir.ops.places import check_index, places, whole_rows, words
from ir.space import Axis, Space
from ir.types import DType, TensorType


class Indexed(Op):
    """An operator whose last operand is a tensor of indices."""

    @limit
    def integer_index(self, *operands: TensorType) -> bool:
        "an index is an i32 tensor"
        return operands[-1].dtype is DType.I32


@op("index_select")
class IndexSelect(Indexed):
    """Slices of x along `dim` in the order of the index, whose axes replace that one: rows of a table for dim 0."""

    dim: int
    cost = Cost(CostClass.GATHER, operations=0)

    def infer(self, x: TensorType, index: TensorType) -> TensorType:
        if not 0 <= self.dim < x.rank:
            raise ValueError(f"{x} has no axis {self.dim}")
        return x.with_shape((*x.shape[: self.dim], *index.shape, *x.shape[self.dim + 1 :]))

    def space(self, x: TensorType, index: TensorType) -> Space:
        lead, rest = _around(self.dim, x)
        return Space.parse(f"{lead} v! {rest}, * -> {lead} * {rest}", (x, index), (self.infer(x, index),))

    def kernel(self, x: Array, index: Array, out: Array) -> None:
        check_index(index, x.shape[self.dim])
        np.take(x, index, axis=self.dim, out=out, mode="clip")


@op("index_add")
class IndexAdd(Indexed):
    """Zeros of `extent` along `dim`, to which slices of x are added where the index says: index_select's gradient.

    The index stands for the axes of x from `dim` on, as many as it has.
    """

    dim: int
    extent: int
    cost = Cost(CostClass.GATHER)

    def infer(self, x: TensorType, index: TensorType) -> TensorType:
        if x.shape[self.dim : self.dim + index.rank] != index.shape:
            raise ValueError(f"{x} does not hold one slice per index of {index} from axis {self.dim} on")
        return x.with_shape((*x.shape[: self.dim], self.extent, *x.shape[self.dim + index.rank :]))

    def space(self, x: TensorType, index: TensorType) -> Space:
        result = self.infer(x, index)
        lead, rest = _around(self.dim, result)
        return Space.parse(f"{lead} * {rest}, * -> {lead} v! {rest}", (x, index), (result,))

    def kernel(self, x: Array, index: Array, out: Array) -> None:
        check_index(index, self.extent)
        given = x.reshape(*x.shape[: self.dim], index.size, *x.shape[self.dim + index.ndim :])
        rest = math.prod(given.shape[self.dim + 1 :])
        with in_order(out) as (made,):
            made.fill(0)
            slices, sums = (array.reshape(-1, array.shape[self.dim], rest) for array in (given, made))
            if rest < SHORT_ROW:
                _add_elements(slices, index.reshape(-1), sums)
            elif sums.size:
                _add_rows(slices, index.reshape(-1), sums)


SHORT_ROW = 8
"""Rows shorter than this are added element by element."""


def _around(dim: int, tensor: TensorType) -> tuple[str, str]:
    """Names for the axes before and after `dim`."""
    return " ".join(f"b{axis}" for axis in range(dim)), " ".join(f"r{axis}" for axis in range(dim + 1, tensor.rank))


def _add_elements(x: Array, index: Array, out: Array) -> None:
    """out[b, index[i], r] += x[b, i, r], element by element."""
    batch, extent, rest = out.shape
    rows = np.arange(batch)[:, None] * extent + index
    np.add.at(out.reshape(-1), (rows[..., None] * rest + np.arange(rest)).reshape(-1), x.reshape(-1))


def _add_rows(x: Array, index: Array, out: Array) -> None:
    """out[b, index[i], :] += x[b, i, :], as the product of a sparse matrix of ones: in the order of i, too."""
    if len(x) > 1:
        rows = np.arange(len(x))[:, None]
        x, index = x.reshape(-1, x.shape[2]), (rows * out.shape[1] + index).reshape(-1)
        out = out.reshape(-1, out.shape[2])
    else:
        x, out = x[0], out[0]
    rows, sums = sums_of_rows(x, index)
    out[rows] = sums


def sums_of_rows(x: Array, index: Array) -> tuple[Array, Array]:
    """Which numbers the index [n] has, ascending, and for each the sum of the rows of x [n, features] that it marks."""
    from scipy.sparse import csr_array  # here, as it takes longer to import than many a run

    order = np.argsort(index, kind="stable")
    rows, starts = np.unique(index[order], return_index=True)
    begins = np.append(starts, index.size)
    ones = csr_array((np.ones(index.size, x.dtype), order, begins), shape=(rows.size, index.size))
    return rows, ones @ x


@op("gather")
class Gather(Indexed):
    """Elements picked along one axis: result[i, j] = x[index[i, j], j] for dim 0, and so on."""

    dim: int
    cost = Cost(CostClass.GATHER, operations=0)

    def infer(self, x: TensorType, index: TensorType) -> TensorType:
        if x.rank != index.rank or not 0 <= self.dim < x.rank:
            raise ValueError(f"{x} and the index {index} do not share an axis {self.dim}")
        if any(i > extent for axis, (extent, i) in enumerate(zip(x.shape, index.shape)) if axis != self.dim):
            raise ValueError(f"the index {index} is larger than {x} along an axis other than {self.dim}")
        return x.with_shape(index.shape)

    def space(self, x: TensorType, index: TensorType) -> Space:
        names = [f"d{axis}" for axis in range(x.rank)]
        sizes = dict(zip(names, index.shape))
        whole: set[str] = set()
        source = []
        for axis, name in enumerate(names):
            if axis == self.dim:
                source.append("source")
                whole.add("source")
            elif x.shape[axis] != index.shape[axis]:
                source.append(f"longer{axis}")
                whole |= {name, f"longer{axis}"}
            else:
                source.append(name)
        sizes |= dict(zip(source, x.shape))
        picked = tuple(Axis((name,)) for name in names)
        return Space((tuple(Axis((name,)) for name in source), picked), (picked,), sizes, frozenset(whole))

    def scratch(self, x: TensorType, index: TensorType) -> tuple[TensorType, ...]:
        return (words(index),)

    def kernel(self, x: Array, index: Array, out: Array, scratch: Array) -> None:
        rows = whole_rows(index, x.shape, self.dim)
        if rows is not None:
            np.take(x, rows, axis=self.dim, out=out, mode="clip")
            return
        found = places(index, x.shape, self.dim, scratch)
        with in_order(out) as (made,):
            np.take(x.reshape(-1), found, out=made, mode="clip")


@op("nll")
class Nll(Indexed):
    """Negative log likelihood of the targets: -logp[i, target[i]], or 0 where target[i] is `ignore_index`."""

    ignore_index: int
    cost = Cost(CostClass.GATHER)

    def infer(self, logp: TensorType, target: TensorType) -> TensorType:
        if logp.rank != 2 or target.shape != logp.shape[:1]:
            raise ValueError(f"the log probabilities {logp} and the targets {target} are not [n, c] and [n]")
        return logp.with_shape(target.shape)

    def space(self, logp: TensorType, target: TensorType) -> Space:
        return Space.parse("n c!, n -> n", (logp, target), (self.infer(logp, target),))

    def kernel(self, logp: Array, target: Array, out: Array) -> None:
        rows = np.flatnonzero(target != self.ignore_index)
        classes = target[rows]
        check_index(classes, logp.shape[1])
        out.fill(0)
        out[rows] = -logp[rows, classes]


@op("nll_backward")
class NllBackward(Indexed):
    """The gradient of nll's log probabilities: -dy[i] at [i, target[i]], or nothing where that is `ignore_index`."""

    classes: int
    ignore_index: int
    cost = Cost(CostClass.GATHER)

    def infer(self, dy: TensorType, target: TensorType) -> TensorType:
        if dy.rank != 1 or target.shape != dy.shape:
            raise ValueError(f"the gradient {dy} and the targets {target} are not both [n]")
        return dy.with_shape((*dy.shape, self.classes))

    def space(self, dy: TensorType, target: TensorType) -> Space:
        return Space.parse("n, n -> n c!", (dy, target), (self.infer(dy, target),))

    def kernel(self, dy: Array, target: Array, out: Array) -> None:
        rows = np.flatnonzero(target != self.ignore_index)
        classes = target[rows]
        check_index(classes, self.classes)
        out.fill(0)
        out[rows, classes] = -dy[rows]
