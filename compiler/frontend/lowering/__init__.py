"""ATen operators as nodes of the graph language: one file per family, one function per operator, one table."""

from compiler.frontend.lowering import (
    convolution,
    elementwise,
    indexing,
    integer,
    loss,
    matmul,
    normalization,
    ordering,
    random,
    reduction,
    strided,
    view,
)
from compiler.frontend.lowering.context import LOWERINGS, Context, Refused

__all__ = [
    "LOWERINGS", "Context", "Refused", "convolution", "elementwise", "indexing", "integer", "loss", "matmul",
    "normalization", "ordering", "random", "reduction", "strided", "view",
]  # fmt: skip
