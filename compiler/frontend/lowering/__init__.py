"""ATen operators as nodes of the graph language: one file per family, one function per operator, one table."""

from compiler.frontend.lowering import (
    convolution,
    elementwise,
    experts,
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
from compiler.frontend.lowering.context import LIBRARIES, LOWERINGS, Context, Refused, lowering_of

__all__ = [
    "LIBRARIES", "LOWERINGS", "Context", "Refused", "convolution", "elementwise", "experts", "indexing", "integer",
    "loss", "lowering_of", "matmul", "normalization", "ordering", "random", "reduction", "strided", "view",
]  # fmt: skip
