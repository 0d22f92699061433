"""Every operator, one file per family; importing this package registers them all."""

from ir.ops import (
    collective,
    concat,
    conv,
    elementwise,
    functions,
    indexing,
    integer,
    matmul,
    norm,
    pool,
    random,
    reduce,
    scan,
    scatter,
    softmax,
    sort,
    view,
)

__all__ = [
    "collective", "concat", "conv", "elementwise", "functions", "indexing", "integer", "matmul", "norm", "pool",
    "random", "reduce", "scan", "scatter", "softmax", "sort", "view",
]  # fmt: skip
