"""Joining tensors: each operand is written into its range of the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ir.op import Array, Cost, CostClass, Op, op
from ir.ranges import Range, hull
from ir.space import Axis, Space
from ir.types import TensorType


@op("cat")
class Cat(Op):
    """Operands joined along one axis, in order."""

    dim: int
    cost = Cost(CostClass.GATHER, operations=0)
    any_layout = True
    is_elementwise = True
    whole = "elements of a tile come to lie in another tile"

    def possible(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> Range | None:
        known = [one for one in ranges if one]
        return hull(known) if len(known) == len(ranges) else None

    def infer(self, *operands: TensorType) -> TensorType:
        if not operands:
            raise ValueError("there is nothing to join")
        first = operands[0]
        if not 0 <= self.dim < first.rank:
            raise ValueError(f"{first} has no axis {self.dim}")
        for other in operands[1:]:
            if other.dtype is not first.dtype or self._others(other) != self._others(first):
                raise ValueError(f"{first} and {other} cannot be joined along axis {self.dim}")
        extent = sum(operand.shape[self.dim] for operand in operands)
        return first.with_shape((*first.shape[: self.dim], extent, *first.shape[self.dim + 1 :]))

    def space(self, *operands: TensorType) -> Space:
        result = self.infer(*operands)
        names = [f"d{axis}" for axis in range(result.rank)]
        sizes = dict(zip(names, result.shape))
        parts = [f"part{i}" for i in range(len(operands))]
        sizes |= {part: operand.shape[self.dim] for part, operand in zip(parts, operands)}

        def axes(joined: str) -> tuple[Axis, ...]:
            return tuple(Axis((joined if axis == self.dim else name,)) for axis, name in enumerate(names))

        whole = frozenset([names[self.dim], *parts])
        return Space(tuple(map(axes, parts)), (axes(names[self.dim]),), sizes, whole)

    def copies(self, operands: Sequence[Array], result: Array) -> list[tuple[Array, Array]]:
        window = [slice(None)] * result.ndim
        start, pairs = 0, []
        for operand in operands:
            window[self.dim] = slice(start, start := start + operand.shape[self.dim])
            pairs.append((operand, result[tuple(window)]))
        return pairs

    def kernel(self, *arrays: Array) -> None:
        *operands, out = arrays
        for operand, place in self.copies(operands, out):
            np.copyto(place, operand)

    def _others(self, operand: TensorType) -> tuple[int, ...]:
        """The extents of the axes that are not joined, and so the rank."""
        return (*operand.shape[: self.dim], -1, *operand.shape[self.dim + 1 :])
