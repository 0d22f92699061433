"""Address arithmetic and immediates: free on the RDU, where address generators walk any affine pattern."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ir.op import Array, FreeOp, Op, op
from ir.space import Axis, Space
from ir.types import DType, TensorType


@op("full")
class Full(FreeOp):
    """A constant tensor: an immediate in the configuration."""

    shape: tuple[int, ...]
    value: float
    dtype: DType

    def infer(self) -> TensorType:
        return TensorType(self.dtype, self.shape)

    def space(self) -> Space:
        names = [f"d{axis}" for axis in range(len(self.shape))]
        return Space((), (tuple(Axis((name,)) for name in names),), dict(zip(names, self.shape)))

    def view(self) -> Array:
        value: Array = np.asarray(self.value, self.dtype.compute)
        return np.broadcast_to(value, self.shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, shape=result.shape)


@op("reshape")
class Reshape(FreeOp):
    """The same elements, in row-major order, in another shape."""

    shape: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if x.numel != math.prod(self.shape):
            raise ValueError(f"shape {list(x.shape)} cannot become {list(self.shape)}")
        return x.with_shape(self.shape)

    def space(self, x: TensorType) -> Space:
        return _reshape_space(x.shape, self.shape)

    def view(self, x: Array) -> Array:
        return x.reshape(self.shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, shape=result.shape)


@op("permute")
class Permute(FreeOp):
    """Axes in another order: result axis i is operand axis dims[i]."""

    dims: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.dims) != list(range(x.rank)):
            raise ValueError(f"{list(self.dims)} is not a permutation of {x.rank} axes")
        return x.with_shape(tuple(x.shape[dim] for dim in self.dims))

    def space(self, x: TensorType) -> Space:
        names = [f"d{axis}" for axis in range(x.rank)]
        axes = tuple(Axis((name,)) for name in names)
        return Space((axes,), (tuple(axes[dim] for dim in self.dims),), dict(zip(names, x.shape)))

    def view(self, x: Array) -> Array:
        return x.transpose(self.dims)


@op("expand")
class Expand(FreeOp):
    """Broadcast to a larger shape: axes of extent one, and new leading axes, are repeated."""

    shape: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if np.broadcast_shapes(x.shape, self.shape) != self.shape:
            raise ValueError(f"shape {list(x.shape)} does not broadcast to {list(self.shape)}")
        return x.with_shape(self.shape)

    def space(self, x: TensorType) -> Space:
        return Space.elementwise((x,), self.infer(x))

    def view(self, x: Array) -> Array:
        return np.broadcast_to(x, self.shape)

    def retyped(self, result: TensorType) -> Op:
        return replace(self, shape=result.shape)


@op("slice")
class Slice(FreeOp):
    """Elements start, start+step, ... before stop of one axis."""

    dim: int
    start: int
    stop: int
    step: int

    def infer(self, x: TensorType) -> TensorType:
        if not 0 <= self.dim < x.rank or not 0 <= self.start <= self.stop <= x.shape[self.dim] or self.step < 1:
            raise ValueError(f"[{self.start}:{self.stop}:{self.step}] is not a slice of axis {self.dim} of {x}")
        extent = len(range(self.start, self.stop, self.step))
        return x.with_shape((*x.shape[: self.dim], extent, *x.shape[self.dim + 1 :]))

    def space(self, x: TensorType) -> Space:
        names = [f"d{axis}" for axis in range(x.rank)]
        source = [Axis((name,)) for name in names]
        result = list(source)
        result[self.dim] = Axis(("cut",))
        sizes = {**dict(zip(names, x.shape)), "cut": self.infer(x).shape[self.dim]}
        return Space((tuple(source),), (tuple(result),), sizes, frozenset({names[self.dim], "cut"}))

    def view(self, x: Array) -> Array:
        index = [slice(None)] * x.ndim
        index[self.dim] = slice(self.start, self.stop, self.step)
        return x[tuple(index)]


def _reshape_space(source: tuple[int, ...], target: tuple[int, ...]) -> Space:
    """Dims shared by both shapes, from the left, by splitting axes at common products; a rest that does not
    split (6,4 -> 8,3 after their common 2) is held whole.

    Axes of extent one carry no dims. For each pair of remaining extents the smaller must divide the larger:
    then it is a dim of both, and the quotient goes on.
    """
    sizes: dict[str, int] = {}
    whole: set[str] = set()
    axes: tuple[list[list[str]], list[list[str]]] = ([[] for _ in source], [[] for _ in target])

    def new_dim(size: int, *places: list[str], held: bool = False) -> None:
        name = f"d{len(sizes)}"
        sizes[name] = size
        for place in places:
            place.append(name)
        if held:
            whole.add(name)

    left = [[extent, place] for extent, place in zip(source, axes[0]) if extent != 1]
    right = [[extent, place] for extent, place in zip(target, axes[1]) if extent != 1]
    while left and right:
        common = math.gcd(left[0][0], right[0][0])
        if common != min(left[0][0], right[0][0]):
            if common > 1:
                new_dim(common, left[0][1], right[0][1])
                left[0][0] //= common
                right[0][0] //= common
            break
        new_dim(common, left[0][1], right[0][1])
        for side in (left, right):
            side[0][0] //= common
            if side[0][0] == 1:
                side.pop(0)
    for extent, place in [*left, *right]:
        new_dim(extent, place, held=True)

    def bound(places: list[list[str]]) -> tuple[Axis, ...]:
        return tuple(Axis(tuple(place)) for place in places)

    return Space((bound(axes[0]),), (bound(axes[1]),), sizes, frozenset(whole))
