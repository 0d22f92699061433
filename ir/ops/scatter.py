"""Writing by index along one axis: out[index[i, j], j] takes src[i, j] for dim 0, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ir.kernels.layout import in_order
from ir.kernels.places import check_index, places, run_loop, whole_rows, words
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.ops.indexing import sums_of_rows
from ir.space import Axis, Space
from ir.types import DType, TensorType


class Scattering(Op):
    """A copy of x into which the elements of src are written along `dim`, where `index` says."""

    dim: int
    cost: ClassVar[Cost] = Cost(CostClass.GATHER)
    any_layout: ClassVar[bool] = True
    whole = "an index may name any element of the axis"
    places_by_value = True
    refuses = True
    loop_name: ClassVar[str] = ""
    """Of the compiled loop that writes elements; nothing where there is none."""

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

    def elements(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        """First x is copied, then every element of src is written."""
        x, _, src = operands
        return x.numel + src.numel

    def scratch(self, x: TensorType, index: TensorType, src: TensorType) -> tuple[TensorType, ...]:
        return (words(index),)

    def kernel(self, x: Array, index: Array, src: Array, out: Array, scratch: Array) -> None:
        if self.loop_name and self.covers(index, out) and out.dtype == np.float32:
            check_index(index, x.shape[self.dim])
            np.copyto(out, x)
            if run_loop(self.loop_name, self.dim, src, index, out, (1, 1)):
                return
        rows = whole_rows(index, x.shape, self.dim)
        if rows is not None:
            np.copyto(out, x)
            self.write_rows(np.moveaxis(out, self.dim, 0), rows, np.moveaxis(src, self.dim, 0))
            return
        found = places(index, x.shape, self.dim, scratch).reshape(-1)
        with in_order(out) as (made,):
            np.copyto(made, x)
            self.write(made.reshape(-1), found, src.reshape(-1))

    def covers(self, index: Array, out: Array) -> bool:
        """Whether the index is as large as the result along all axes but `dim`."""
        others = (axis for axis in range(out.ndim) if axis != self.dim)
        return all(index.shape[axis] == out.shape[axis] for axis in others)

    def write(self, out: Array, found: Array, src: Array) -> None:
        """Combine the elements of src with those of out at the places found; all are vectors."""
        raise ValueError(f"operator {self.name} does not say how it combines elements")

    def write_rows(self, out: Array, rows: Array, src: Array) -> None:
        """The same for whole rows of out, in any layout."""
        self.write(out, rows, src)

    @limit
    def integer_index(self, x: TensorType, index: TensorType, src: TensorType) -> bool:
        "an index is an i32 tensor"
        return index.dtype is DType.I32


@op("scatter")
class Scatter(Scattering):
    """Elements of src replace those of x; of several for one place the last counts."""

    dim: int
    cost = Cost(CostClass.GATHER, operations=0)
    loop_name = "scatter"

    def write(self, out: Array, found: Array, src: Array) -> None:
        out[found] = src

    @property
    def replaced_axis(self) -> int | None:
        return self.dim


@op("scatter_add")
class ScatterAdd(Scattering):
    """Elements of src are added to those of x."""

    dim: int
    loop_name = "scatter_add"

    def write(self, out: Array, found: Array, src: Array) -> None:
        np.add.at(out, found, src)

    def write_rows(self, out: Array, rows: Array, src: Array) -> None:
        """Sums of what the rows held and then of the source's rows, in their order."""
        held = np.unique(rows)
        given = np.concatenate((out[held], src)).reshape(held.size + rows.size, -1)
        _, sums = sums_of_rows(given, np.concatenate((held, rows)))
        out[held] = sums.reshape(held.size, *out.shape[1:])

    @limit
    def numbers_only(self, x: TensorType, index: TensorType, src: TensorType) -> bool:
        "the operator takes floating-point or i32 tensors"
        return x.dtype.is_float or x.dtype is DType.I32


class ScatterExtremum(Scattering):
    """Elements of src compete with those of x."""

    function: ClassVar[np.ufunc]

    def write(self, out: Array, found: Array, src: Array) -> None:
        self.function.at(out, found, src)

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
