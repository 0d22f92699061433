"""Matrix products: the systolic array's work."""

from __future__ import annotations

from ir.kernels.gemm import matmul
from ir.op import Array, Cost, CostClass, Gemm, Op, limit, op
from ir.space import Space
from ir.types import DType, TensorType


@op("matmul")
class Matmul(Op):
    """Product of matrices over leading batch axes, accumulated in float32 and delivered as `dtype`."""

    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)
    any_layout = True

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.rank < 2 or b.rank != a.rank or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
            raise ValueError(f"matrices of shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied")
        return TensorType(self.dtype, (*a.shape[:-1], b.shape[-1]))

    def space(self, a: TensorType, b: TensorType) -> Space:
        return Space.parse("* m k, * k n -> * m n", (a, b), (self.infer(a, b),))

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        matmul(a, b, out)

    def gemm(self, a: TensorType, b: TensorType) -> Gemm:
        batch = a.numel // (a.shape[-2] * a.shape[-1])
        return Gemm(batch, a.shape[-2], b.shape[-1], a.shape[-1])

    @limit
    def numbers(self, a: TensorType, b: TensorType) -> bool:
        "matmul takes floating-point matrices, or i32 ones that make an i32 one"
        if self.dtype.is_float:
            return a.dtype.is_float and b.dtype.is_float
        return a.dtype is b.dtype is self.dtype is DType.I32
