"""Reading and adding up by index: the data-dependent operators, done by address generators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ir.kernels.layout import in_order
from ir.kernels.native import load
from ir.kernels.places import LEAST_INDICES, check_index, is_inside, places, run_loop, whole_rows, words, wrap_index
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.elementwise import Elementwise
from ir.ranges import Range
from ir.space import Axis, Space
from ir.types import DType, TensorType


class TakesIndex(Op):
    """An operator whose last operand is a tensor of indices; one outside its axis ends the run."""

    refuses = True

    @limit
    def integer_index(self, *operands: TensorType) -> bool:
        "an index is an i32 tensor"
        return operands[-1].dtype is DType.I32


class Indexed(TakesIndex):
    """An operator that reaches elements of an axis by index."""

    whole = "an index may name any element of the axis"
    places_by_value = True


@op("wrap_index")
class WrapIndex(TakesIndex, Elementwise):
    """Indices of an axis of `extent` elements, negative ones counted from its end."""

    extent: int
    cost = Cost(CostClass.SIMD, operations=3)

    def infer(self, index: TensorType) -> TensorType:
        return index

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return 0, max(self.extent - 1, 0)

    def kernel(self, index: Array, out: Array) -> None:
        wrap_index(index, self.extent, out)


@op("index_select")
class IndexSelect(Indexed):
    """Slices of x along `dim` in the order of the index, whose axes replace that one: rows of a table for dim 0."""

    dim: int
    cost = Cost(CostClass.GATHER, operations=0)
    tables = (0,)
    any_layout = True

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

    def infer(self, x: TensorType, index: TensorType) -> TensorType:
        if not 0 <= self.dim < x.rank:
            raise ValueError(f"{x} has no axis {self.dim}")
        return x.with_shape((*x.shape[: self.dim], *index.shape, *x.shape[self.dim + 1 :]))

    def space(self, x: TensorType, index: TensorType) -> Space:
        lead, rest = around(self.dim, x)
        return Space.parse(f"{lead} v! {rest}, * -> {lead} * {rest}", (x, index), (self.infer(x, index),))

    def kernel(self, x: Array, index: Array, out: Array) -> None:
        check_index(index, x.shape[self.dim])
        if run_loop("take", self.dim, x, index.reshape(-1), out, (1, index.ndim)):
            return
        if index.ndim > 1 and len(index) <= MOST_PARTS:  # whose results do not follow one another
            for part, made in zip(index, np.moveaxis(out, self.dim, 0)):
                self.kernel(x, part, made)
            return
        with in_order(out) as (made,):
            np.take(x, index, axis=self.dim, out=made, mode="clip")

    @property
    def picked_axis(self) -> int | None:
        return self.dim


@op("index_add")
class IndexAdd(Indexed):
    """Zeros of `extent` along `dim`, to which slices of x are added where the index says: index_select's gradient.

    The index stands for the axes of x from `dim` on, as many as it has.
    """

    dim: int
    extent: int
    cost = Cost(CostClass.GATHER)
    any_layout = True

    def infer(self, x: TensorType, index: TensorType) -> TensorType:
        if x.shape[self.dim : self.dim + index.rank] != index.shape:
            raise ValueError(f"{x} does not hold one slice per index of {index} from axis {self.dim} on")
        return x.with_shape((*x.shape[: self.dim], self.extent, *x.shape[self.dim + index.rank :]))

    def space(self, x: TensorType, index: TensorType) -> Space:
        result = self.infer(x, index)
        lead, rest = around(self.dim, result)
        return Space.parse(f"{lead} * {rest}, * -> {lead} v! {rest}", (x, index), (result,))

    def elements(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        """First the zeros are written, then every slice is added."""
        return results[0].numel + operands[0].numel

    def kernel(self, x: Array, index: Array, out: Array) -> None:
        check_index(index, self.extent)
        rank, index = index.ndim, index.reshape(-1)
        if run_loop("add", self.dim, x, index, out, (rank, 1)):
            return
        slices = x.reshape(math.prod(out.shape[: self.dim]), index.size, math.prod(out.shape[self.dim + 1 :]))
        if self.dim == 0 and slices.shape[2] >= SHORT_ROW:
            out.fill(0)
            rows, sums = sums_of_rows(slices[0], index)
            out[rows] = sums.reshape(-1, *out.shape[1:])
            return
        with in_order(out) as (made,):
            made.fill(0)
            sums = made.reshape(len(slices), self.extent, slices.shape[2])
            if slices.shape[2] < SHORT_ROW:
                _add_elements(slices, index, sums)
            else:
                _add_rows(slices, index, sums)


MOST_PARTS = 64
"""Parts of an index that are worth a call each."""
SHORT_ROW = 8
"""Rows shorter than this are added element by element."""


def around(dim: int, tensor: TensorType) -> tuple[str, str]:
    """Names for the axes before and after `dim`."""
    return " ".join(f"b{axis}" for axis in range(dim)), " ".join(f"r{axis}" for axis in range(dim + 1, tensor.rank))


def _add_elements(x: Array, index: Array, out: Array) -> None:
    """out[b, index[i], r] += x[b, i, r], element by element."""
    batch, extent, rest = out.shape
    rows = np.arange(batch)[:, None] * extent + index
    np.add.at(out.reshape(-1), (rows[..., None] * rest + np.arange(rest)).reshape(-1), x.reshape(-1))


def _add_rows(x: Array, index: Array, out: Array) -> None:
    """out[b, index[i], :] += x[b, i, :], row by row."""
    batch, extent, rest = out.shape
    every = np.arange(batch)[:, None] * extent + index
    rows, sums = sums_of_rows(x.reshape(-1, rest), every.reshape(-1))
    out.reshape(-1, rest)[rows] = sums


def sums_of_rows(x: Array, index: Array) -> tuple[Array, Array]:
    """Which numbers the index [n] has, ascending, and for each the sum of the rows of x [n, features] that it marks, in
    their order: the product of x with a sparse matrix of ones."""
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
    tables = (0,)

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

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
        if all(i == n for axis, (i, n) in enumerate(zip(index.shape, x.shape)) if axis != self.dim):
            check_index(index, x.shape[self.dim])
            if run_loop("gather", self.dim, x, index, out, (1, 1)):
                return
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
    tables = (0,)

    def infer(self, logp: TensorType, target: TensorType) -> TensorType:
        if logp.rank != 2 or target.shape != logp.shape[:1]:
            raise ValueError(f"the log probabilities {logp} and the targets {target} are not [n, c] and [n]")
        return logp.with_shape(target.shape)

    def space(self, logp: TensorType, target: TensorType) -> Space:
        return Space.parse("n c!, n -> n", (logp, target), (self.infer(logp, target),))

    def kernel(self, logp: Array, target: Array, out: Array) -> None:
        loops = load("indexing") if target.size >= LEAST_INDICES and logp.dtype == np.float32 else None
        are_owned = logp.flags.writeable and target.flags.writeable
        if loops and are_owned and loops.negative_of_class(logp, target, self.ignore_index, out):
            return
        ignored, places = _class_places(target, self.ignore_index, logp.shape[1])
        logp.reshape(-1).take(places, out=out, mode="clip")
        np.negative(out, out=out)
        if ignored is not None:
            out[ignored] = 0


def _class_places(target: Array, ignore_index: int, classes: int) -> tuple[Array | None, Array]:
    """Which rows are to be ignored (None: none), and the place in [n, classes] of each row's class, or of class 0 where
    ignored."""
    ignored = None
    if 0 <= ignore_index < classes or not is_inside(target, classes):
        ignored = target == ignore_index
        target = np.where(ignored, 0, target)
        check_index(target, classes)
    return ignored, target + np.arange(0, len(target) * classes, classes)


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
        ignored, places = _class_places(target, self.ignore_index, self.classes)
        share = np.negative(dy)
        if ignored is not None:
            share[ignored] = 0
        with in_order(out) as (made,):
            made.fill(0)
            made.reshape(-1)[places] = share
