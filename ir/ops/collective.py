"""Operators whose result depends on the other replicas of a data parallel run."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.space import Space
from ir.types import TensorType


@op("all_reduce")
class AllReduce(Op):
    """The mean of a tensor over all replicas, summed in float32; of a single replica, the tensor itself.

    How many replicas there are is known only when it runs: the kernel is what one replica does alone.
    """

    cost: ClassVar[Cost] = Cost(CostClass.SIMD, operations=2)
    exchanges: ClassVar[bool] = True

    def infer(self, x: TensorType) -> TensorType:
        return x

    def space(self, x: TensorType) -> Space:
        return Space.elementwise((x,), x)

    def kernel(self, x: Array, out: Array) -> None:
        np.copyto(out, x)

    @limit
    def float_only(self, x: TensorType) -> bool:
        "all_reduce takes a floating-point tensor"
        return x.dtype.is_float
