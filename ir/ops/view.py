"""Address arithmetic and immediates: free on the RDU, where address generators walk any affine pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ir.kernels.layout import copy
from ir.op import Array, FreeOp, broadcast_shape, op
from ir.ranges import Range
from ir.space import Axis, Space
from ir.types import DType, TensorType


@op("full")
class Full(FreeOp):
    """A constant tensor: an immediate in the configuration."""

    shape: tuple[int, ...]
    value: float
    dtype: DType
    result_shape = "shape"

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return None if self.dtype.is_float else (int(self.value), int(self.value))

    def infer(self) -> TensorType:
        if self.dtype is DType.I32 and not -(2**31) <= self.value < 2**31:
            raise ValueError(f"{self.value:.0f} does not fit a whole number of 32 bits")
        return TensorType(self.dtype, self.shape)

    def space(self) -> Space:
        names = [f"d{axis}" for axis in range(len(self.shape))]
        return Space((), (tuple(Axis((name,)) for name in names),), dict(zip(names, self.shape)))

    def view(self) -> Array:
        value: Array = np.asarray(self.value, self.dtype.compute)
        return np.broadcast_to(value, self.shape)


@op("reshape")
class Reshape(FreeOp):
    """The same elements, in row-major order, in another shape."""

    shape: tuple[int, ...]
    result_shape = "shape"
    whole = "elements of a tile come to lie in another tile"

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

    def infer(self, x: TensorType) -> TensorType:
        if x.numel != math.prod(self.shape):
            raise ValueError(f"shape {list(x.shape)} cannot become {list(self.shape)}")
        return x.with_shape(self.shape)

    def space(self, x: TensorType) -> Space:
        return _reshape_space(x.shape, self.shape)

    def view(self, x: Array) -> Array:
        reshaped: Array = x.reshape(self.shape)
        return reshaped

    def source_of(self, result: Array, shape: Sequence[int]) -> Array | None:
        source: Array = result.reshape(tuple(shape))
        return source if np.may_share_memory(source, result) else None

    def kernel(self, x: Array, out: Array) -> None:
        if out.flags.c_contiguous:
            copy(out.reshape(x.shape), x)
        else:
            np.copyto(out, self.view(x))


@op("permute")
class Permute(FreeOp):
    """Axes in another order: result axis i is operand axis dims[i]."""

    dims: tuple[int, ...]

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.dims) != list(range(x.rank)):
            raise ValueError(f"{list(self.dims)} is not a permutation of {x.rank} axes")
        return x.with_shape(tuple(x.shape[dim] for dim in self.dims))

    def space(self, x: TensorType) -> Space:
        names = [f"d{axis}" for axis in range(x.rank)]
        axes = tuple(Axis((name,)) for name in names)
        return Space((axes,), (tuple(axes[dim] for dim in self.dims),), dict(zip(names, x.shape)))

    def view(self, x: Array) -> Array:
        permuted: Array = x.transpose(self.dims)
        return permuted

    def source_of(self, result: Array, shape: Sequence[int]) -> Array | None:
        return result.transpose(np.argsort(self.dims)) if self.dims else result


@op("expand")
class Expand(FreeOp):
    """Broadcast to a larger shape: axes of extent one, and new leading axes, are repeated."""

    shape: tuple[int, ...]
    result_shape = "shape"

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

    def infer(self, x: TensorType) -> TensorType:
        if broadcast_shape((x, x.with_shape(self.shape))) != self.shape:
            raise ValueError(f"shape {list(x.shape)} does not broadcast to {list(self.shape)}")
        return x.with_shape(self.shape)

    def space(self, x: TensorType) -> Space:
        return Space.elementwise((x,), self.infer(x))

    def view(self, x: Array) -> Array:
        return np.broadcast_to(x, self.shape)


@op("slice")
class Slice(FreeOp):
    """Elements start, start+step, ... before stop of one axis."""

    dim: int
    start: int
    stop: int
    step: int
    whole = "elements of a tile come to lie in another tile"

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

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


@op("flip")
class Flip(FreeOp):
    """The axes `dims` backwards."""

    dims: tuple[int, ...]
    whole = "elements of a tile come to lie in another tile"

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        return ranges[0]

    def infer(self, x: TensorType) -> TensorType:
        if len(set(self.dims)) != len(self.dims) or not all(0 <= dim < x.rank for dim in self.dims):
            raise ValueError(f"{list(self.dims)} are not axes of {x}")
        return x

    def space(self, x: TensorType) -> Space:
        return Space.elementwise((x,), x, whole=self.dims)

    def view(self, x: Array) -> Array:
        return np.flip(x, self.dims)


@dataclass
class _Splitting:
    """An axis being split into dims: the factor left, and the dims found before and after it."""

    factor: int
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    @property
    def axis(self) -> Axis:
        return Axis((*self.before, *self.after))


def _reshape_space(source: tuple[int, ...], target: tuple[int, ...]) -> Space:
    """Dims shared by both shapes, found by splitting axes at common factors, from the left and then from the right.

    What does not split (3,4 -> 4,3 between the common 2 and 5 of 6,4,5 -> 8,3,5) is held whole. Axes of extent one
    carry no dims.
    """
    sizes: dict[str, int] = {}

    def new_dim(size: int) -> str:
        name = f"d{len(sizes)}"
        sizes[name] = size
        return name

    shapes = [[_Splitting(extent) for extent in shape] for shape in (source, target)]
    for from_left in (True, False):
        left, right = ([axis for axis in shape[:: 1 if from_left else -1] if axis.factor != 1] for shape in shapes)
        while left and right:
            common = math.gcd(left[0].factor, right[0].factor)
            if common > 1:
                name = new_dim(common)
                for axis in (left[0], right[0]):
                    axis.factor //= common
                    axis.before.append(name) if from_left else axis.after.insert(0, name)
            if left[0].factor != 1 and right[0].factor != 1:
                break
            left, right = ([axis for axis in axes if axis.factor != 1] for axes in (left, right))
    whole = set()
    for axis in (axis for shape in shapes for axis in shape if axis.factor != 1):
        axis.before.append(new_dim(axis.factor))
        whole.add(axis.before[-1])
    operand, result = (tuple(axis.axis for axis in shape) for shape in shapes)
    return Space((operand,), (result,), sizes, frozenset(whole))
