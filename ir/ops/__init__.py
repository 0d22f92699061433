"""Every operator, one file per family; importing this package registers them all."""

from ir.ops import (
    activation,
    checked,
    collective,
    comparison,
    concat,
    conv,
    elementwise,
    functions,
    gaussian,
    grouped,
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
    special,
    view,
)

__all__ = [
    "activation", "checked", "collective", "comparison", "concat", "conv", "elementwise", "functions", "gaussian",
    "grouped", "indexing", "integer", "matmul", "norm", "pool", "random", "reduce", "scan", "scatter", "softmax",
    "sort", "special", "view",
]  # fmt: skip
