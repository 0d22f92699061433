"""Writing by index along one axis: out[index[i, j], j] takes src[i, j] for dim 0, and so on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.embedding import check_index
from ir.space import Axis, Space
from ir.types import DType, TensorType


class Scattering(Op):
    """A copy of x into which the elements of src are written along `dim`, where `index` says."""

    dim: int
    cost: ClassVar[Cost] = Cost(CostClass.GATHER)

    def infer(self, x: TensorType, index: TensorType, src: TensorType) -> TensorType:
        if not x.rank == index.rank == src.rank or not 0 <= self.dim < x.rank:
            raise ValueError(f"{x}, the index {index} and the source {src} do not share an axis {self.dim}")
        if src.shape != index.shape or src.dtype is not x.dtype:
            raise ValueError(f"the source {src} does not hold one element of {x} per index of {index}")
        if any(i > extent for axis, (extent, i) in enumerate(zip(x.shape, index.shape)) if axis != self.dim):
            raise ValueError(f"the index {index} is larger than {x} along an axis other than {self.dim}")
        return x

    def space(self, x: TensorType, index: TensorType, src: TensorType) -> Space:
        names = [f"d{axis}" for axis in range(x.rank)]
        source = list(names)
        source[self.dim] = "source"
        whole = {names[self.dim], "source"}
        for axis, name in enumerate(names):
            if axis != self.dim and x.shape[axis] != index.shape[axis]:
                source[axis] = f"shorter{axis}"
                whole |= {name, source[axis]}
        sizes = {**dict(zip(names, x.shape)), **dict(zip(source, index.shape))}
        target, given = (tuple(Axis((name,)) for name in axes) for axes in (names, source))
        return Space((target, given, given), (target,), sizes, frozenset(whole))

    def positions(self, index: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
        """Where each element of src goes, as one index array per axis. Raises IndexOutsideError."""
        check_index(index, shape[self.dim])
        grid: list[Array] = list(np.ogrid[tuple(slice(extent) for extent in index.shape)])
        grid[self.dim] = index
        return tuple(grid)

    @limit
    def integer_index(self, x: TensorType, index: TensorType, src: TensorType) -> bool:
        "an index is an i32 tensor"
        return index.dtype is DType.I32


@op("scatter")
class Scatter(Scattering):
    """Elements of src replace those of x; of several for one place the last counts."""

    dim: int
    cost = Cost(CostClass.GATHER, operations=0)

    def kernel(self, x: Array, index: Array, src: Array, out: Array) -> None:
        np.copyto(out, x)
        out[self.positions(index, x.shape)] = src


@op("scatter_add")
class ScatterAdd(Scattering):
    """Elements of src are added to those of x."""

    dim: int

    def kernel(self, x: Array, index: Array, src: Array, out: Array) -> None:
        check_index(index, x.shape[self.dim])
        strides = np.cumprod((1, *x.shape[:0:-1]))[::-1]
        grid = self.positions(index, x.shape)
        place = sum((axis * int(stride) for axis, stride in zip(grid, strides)), np.zeros((), np.int64))
        flat = np.broadcast_to(place, index.shape).reshape(-1)
        # Summed in double precision, exactly for integers.
        total = np.bincount(flat, weights=src.reshape(-1), minlength=x.size).reshape(x.shape)
        np.add(x, total, out=out, casting="unsafe")

    @limit
    def numbers_only(self, x: TensorType, index: TensorType, src: TensorType) -> bool:
        "the operator takes floating-point or i32 tensors"
        return x.dtype.is_float or x.dtype is DType.I32


class ScatterExtremum(Scattering):
    """Elements of src compete with those of x."""

    function: ClassVar[np.ufunc]

    def kernel(self, x: Array, index: Array, src: Array, out: Array) -> None:
        np.copyto(out, x)
        self.function.at(out, self.positions(index, x.shape), src)

    @limit
    def numbers_only(self, x: TensorType, index: TensorType, src: TensorType) -> bool:
        "the operator takes floating-point or i32 tensors"
        return x.dtype.is_float or x.dtype is DType.I32


@op("scatter_max")
class ScatterMax(ScatterExtremum):
    """The largest of x and the elements of src for each place."""

    dim: int
    function = np.maximum


@op("scatter_min")
class ScatterMin(ScatterExtremum):
    """The smallest of x and the elements of src for each place."""

    dim: int
    function = np.minimum


@op("scatter_mul")
class ScatterMul(ScatterExtremum):
    """x times all elements of src for each place."""

    dim: int
    function = np.multiply
