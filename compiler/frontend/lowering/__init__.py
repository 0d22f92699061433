"""ATen operators as nodes of the graph language: one file per family, one function per operator, one table."""

from compiler.frontend.lowering import (
    complex_numbers,
    convolution,
    elementwise,
    experts,
    fourier,
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
from compiler.frontend.lowering.complex_numbers import Pair, complex_lowering_of, joined, parts_of
from compiler.frontend.lowering.context import LIBRARIES, LOWERINGS, Context, Refused, lowering_of

__all__ = [
    "LIBRARIES", "LOWERINGS", "Context", "Pair", "Refused", "complex_lowering_of", "complex_numbers", "convolution",
    "elementwise", "experts", "fourier", "indexing", "integer", "joined", "loss", "lowering_of", "matmul",
    "normalization", "ordering", "parts_of", "random", "reduction", "strided", "view",
]  # fmt: skip
