"""Looking up and scattering by index: the data-dependent operators, done by address generators."""

from __future__ import annotations

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.layout import in_order
from ir.ops.places import check_index, places, words
from ir.space import Axis, Space
from ir.types import DType, TensorType


class Indexed(Op):
    """An operator whose last operand is a tensor of indices."""

    @limit
    def integer_index(self, *operands: TensorType) -> bool:
        "an index is an i32 tensor"
        return operands[-1].dtype is DType.I32


@op("embedding")
class Embedding(Indexed):
    """Rows of a table: result[i, :] = table[index[i], :]."""

    cost = Cost(CostClass.GATHER, operations=0)
    any_layout = True

    def infer(self, table: TensorType, index: TensorType) -> TensorType:
        if table.rank != 2:
            raise ValueError(f"the table {table} is not [rows, features]")
        return table.with_shape((*index.shape, table.shape[1]))

    def space(self, table: TensorType, index: TensorType) -> Space:
        return Space.parse("v! e, * -> * e", (table, index), (self.infer(table, index),))

    def kernel(self, table: Array, index: Array, out: Array) -> None:
        check_index(index, table.shape[0])
        if picks_columns(table):
            np.take(table.T, index, axis=1, out=np.moveaxis(out, -1, 0), mode="clip")
        else:
            np.take(table, index, axis=0, out=out, mode="clip")


def picks_columns(table: Array) -> bool:
    """Whether a table lies in memory column by column, as where it is the pixels of images, and rows are pixels."""
    return table.T.flags.c_contiguous and not table.flags.c_contiguous


@op("embedding_gradient")
class EmbeddingGradient(Indexed):
    """The gradient of a table of `rows` rows: result[r, :] = sum of dy[i, :] where index[i] = r."""

    rows: int
    cost = Cost(CostClass.GATHER)

    def infer(self, dy: TensorType, index: TensorType) -> TensorType:
        if dy.shape[:-1] != index.shape:
            raise ValueError(f"the gradient {dy} does not hold one row per index of {index}")
        return dy.with_shape((self.rows, dy.shape[-1]))

    def space(self, dy: TensorType, index: TensorType) -> Space:
        return Space.parse("* e, * -> v! e", (dy, index), (self.infer(dy, index),))

    def kernel(self, dy: Array, index: Array, out: Array) -> None:
        from scipy.sparse import csr_array  # here, as it takes longer to import than many a run

        check_index(index, self.rows)
        order = np.argsort(index, axis=None, kind="stable").astype(np.int32)
        rows, starts = np.unique(index.reshape(-1)[order], return_index=True)
        ends = np.append(starts, order.size).astype(np.int32)
        ones = np.ones(order.size, np.float32)
        sums = csr_array((ones, order, ends), shape=(rows.size, order.size)) @ dy.reshape(order.size, -1)
        out.fill(0)
        out[rows] = sums


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
