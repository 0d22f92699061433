"""Ordering along one axis."""

from __future__ import annotations

import sys

import numpy as np

from ir.kernels.places import words
from ir.op import Array, Cost, CostClass, Op, op
from ir.space import Space
from ir.types import DType, TensorType

COMPARE_AND_EXCHANGE = Cost(CostClass.GATHER, operations=5)
"""One comparison, and a choice for each of the two elements and their positions."""

LOW_HALF = 0 if sys.byteorder == "little" else 1
"""Which half of a 64-bit integer holds its low bits."""


@op("sort")
class Sort(Op):
    """Elements in ascending or descending order along one axis, and where each was; equal ones stay in order.

    NaN counts as larger than everything.
    """

    dim: int
    descending: bool
    cost = COMPARE_AND_EXCHANGE
    places_by_value = True
    whole = "every element along the axis has a part in each result"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if not 0 <= self.dim < x.rank:
            raise ValueError(f"{x} has no axis {self.dim}")
        return x, x.with_dtype(DType.I32)

    def space(self, x: TensorType) -> Space:
        one = Space.elementwise((x,), x, whole=(self.dim,))
        return Space(one.operands, one.results * 2, one.sizes, one.whole)

    def passes(self, x: TensorType) -> int:
        """All steps of a sorting network for the axis."""
        return max(1, _sorting_steps(x.shape[self.dim]))

    def flops(self, x: TensorType) -> int:
        return super().flops(x) * self.passes(x)

    def scratch(self, x: TensorType) -> tuple[TensorType, ...]:
        return (words(x),)

    def kernel(self, x: Array, out: Array, index: Array, scratch: Array) -> None:
        """Sort keys that hold the element above its position, which NumPy does faster than it finds an order."""
        keys = scratch.view(np.int64).reshape(x.shape)
        np.left_shift(_ordered(x, self.descending), 32, out=keys, dtype=np.int64)
        along = [1] * x.ndim
        along[self.dim] = -1
        np.bitwise_or(keys, np.arange(x.shape[self.dim]).reshape(along), out=keys)
        keys.sort(axis=self.dim)
        np.copyto(index, keys.view(np.int32)[..., LOW_HALF::2], casting="unsafe")
        np.copyto(out, np.take_along_axis(x, index, self.dim))


LONGEST_PART = 64
"""How many elements `topk` compares before it orders any."""


@op("topk")
class TopK(Op):
    """The k largest or smallest elements along one axis, in order, and where each was; of equal ones the first.

    NaN counts as larger than everything.
    """

    k: int
    dim: int
    largest: bool
    cost = COMPARE_AND_EXCHANGE
    places_by_value = True
    whole = "every element along the axis has a part in each result"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if not 0 <= self.dim < x.rank or not 0 < self.k <= x.shape[self.dim]:
            raise ValueError(f"{x} has no {self.k} elements along axis {self.dim}")
        found = x.with_shape((*x.shape[: self.dim], self.k, *x.shape[self.dim + 1 :]))
        return found, found.with_dtype(DType.I32)

    def space(self, x: TensorType) -> Space:
        lead, rest = (" ".join(f"d{axis}" for axis in axes) for axes in (range(self.dim), range(self.dim + 1, x.rank)))
        found = f"{lead} k! {rest}"
        return Space.parse(f"{lead} n! {rest} -> {found}, {found}", (x,), self.results(x))

    def passes(self, x: TensorType) -> int:
        """Sort runs of k elements; then, until one is left, keep the better half of each pair of runs and merge it.

        The runs halve from round to round, so all rounds together pass over at most twice as many elements as the
        first: A. Shanbhag, H. Pirk, S. Madden, "Efficient Top-K Query Processing on GPUs", 2018.
        """
        steps = _sorting_steps(self.k)
        return max(1, steps) if self.k == x.shape[self.dim] else steps + 1 + 2 * _doublings(self.k)

    def flops(self, x: TensorType) -> int:
        return super().flops(x) * self.passes(x)

    def kernel(self, x: Array, out: Array, index: Array) -> None:
        """Order only the elements that are not beyond a bound within which there are at least k."""
        rows = np.moveaxis(x, self.dim, -1)
        with np.errstate(invalid="ignore"):
            beyond = (np.less if self.largest else np.greater)(rows, self._bound(rows))
        chosen = ~beyond.reshape(-1, rows.shape[-1])
        lines, places = np.divmod(np.flatnonzero(chosen), rows.shape[-1])
        keys = _ordered(rows.reshape(chosen.shape)[lines, places], self.largest)
        best = np.lexsort((places, keys, lines))
        starts = np.searchsorted(lines, np.arange(len(chosen)))
        found = places[best[starts[:, None] + np.arange(self.k)]].reshape(*rows.shape[:-1], self.k)
        np.copyto(np.moveaxis(index, self.dim, -1), found, casting="unsafe")
        np.copyto(np.moveaxis(out, self.dim, -1), np.take_along_axis(rows, found, -1))

    def _bound(self, rows: Array) -> Array:
        """The k-th of the extrema of disjoint parts of each row: at least those k elements are not beyond it."""
        length = max(1, min(LONGEST_PART, rows.shape[-1] // (4 * self.k)))
        parts = rows.shape[-1] // length
        split = rows[..., : length * parts].reshape(*rows.shape[:-1], length, parts)
        extrema = (np.maximum if self.largest else np.minimum).reduce(split, axis=-2)
        place = parts - self.k if self.largest else self.k - 1
        extrema.partition(place, axis=-1)
        bound: Array = extrema[..., place : place + 1]
        return bound


def _doublings(extent: int) -> int:
    """How often 1 doubles until it is at least `extent`."""
    return max(0, extent - 1).bit_length()


def _sorting_steps(extent: int) -> int:
    """Steps of the bitonic sorting network for `extent` elements, each of which compares every element with another:
    K. Batcher, "Sorting networks and their applications", 1968."""
    doublings = _doublings(extent)
    return doublings * (doublings + 1) // 2


def _ordered(x: Array, descending: bool) -> Array:
    """Integers in the order of the elements: equal where those are equal, NaN above all before the order is turned."""
    if x.dtype.kind == "f":
        bits = (x + np.float32(0)).view(np.int32)  # the sum makes a positive zero of a negative one
        bits[np.isnan(x)] = np.iinfo(np.int32).max
        x = np.bitwise_xor(bits, bits >> 31 & np.iinfo(np.int32).max, out=bits)
    return np.invert(x) if descending else x
