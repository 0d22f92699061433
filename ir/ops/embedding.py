"""Looking up and scattering by index: the data-dependent operators, done by address generators."""

from __future__ import annotations

import numpy as np

from ir.errors import IndexOutsideError, Problem
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.space import Axis, Space
from ir.types import DType, TensorType

FEW = 8
"""How often an index may repeat before its gradients are summed by themselves: the others are added all at once,
first the first of every index, then the second, and so on."""


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

    def infer(self, table: TensorType, index: TensorType) -> TensorType:
        if table.rank != 2:
            raise ValueError(f"the table {table} is not [rows, features]")
        return table.with_shape((*index.shape, table.shape[1]))

    def space(self, table: TensorType, index: TensorType) -> Space:
        return Space.parse("v! e, * -> * e", (table, index), (self.infer(table, index),))

    def kernel(self, table: Array, index: Array, out: Array) -> None:
        check_index(index, table.shape[0])
        np.take(table, index, axis=0, out=out, mode="clip")


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

    def scratch(self, dy: TensorType, index: TensorType) -> tuple[TensorType, ...]:
        return (dy.with_shape((index.numel, dy.shape[-1])),)

    def kernel(self, dy: Array, index: Array, out: Array, ordered: Array) -> None:
        check_index(index, self.rows)
        order = np.argsort(index, axis=None, kind="stable")
        rows, starts, counts = np.unique(index.reshape(-1)[order], return_index=True, return_counts=True)
        np.take(dy.reshape(ordered.shape), order, axis=0, out=ordered, mode="clip")
        out.fill(0)
        out[rows] = ordered[starts]
        for repeat in range(1, FEW):
            again = counts > repeat
            out[rows[again]] += ordered[starts[again] + repeat]
        for often in np.flatnonzero(counts > FEW):
            rest = slice(starts[often] + FEW, starts[often] + counts[often])
            out[rows[often]] += np.add.reduce(ordered[rest], axis=0)


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

    def kernel(self, x: Array, index: Array, out: Array) -> None:
        check_index(index, x.shape[self.dim])
        positions = list(np.ogrid[tuple(slice(extent) for extent in index.shape)])
        positions[self.dim] = index
        out[...] = x[tuple(positions)]


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


def check_index(index: Array, extent: int) -> None:
    """Raise IndexOutsideError where an index lies outside 0 .. extent - 1."""
    if index.size and (index.min() < 0 or index.max() >= extent):
        outside = index[(index < 0) | (index >= extent)].flat[0]
        hint = "labels must be below the number of classes, indices below the number of rows of their table"
        raise IndexOutsideError(Problem(f"index {outside} is outside 0 .. {extent - 1}", hint=hint))
