"""Every operator, one file per family; importing this package registers them all."""

from ir.ops import concat, conv, elementwise, embedding, matmul, norm, pool, reduce, softmax, view

__all__ = ["concat", "conv", "elementwise", "embedding", "matmul", "norm", "pool", "reduce", "softmax", "view"]
