"""A program's identity: two compiles with one digest compute the same, on whatever hardware and wherever on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from ir.graph import Program, SymbolKind
from ir.op import Array
from ir.text import print_computation


def program_digest(program: Program, values: Mapping[str, Array]) -> bytes:
    """SHA-256 of the symbols, the graphs without source locations, and the values of constants.

    What training starts from (parameters, states) is left out: it is data, and a checkpoint holds it.
    """
    digest = hashlib.sha256()
    for symbol in program.symbols:
        digest.update(f"symbol {symbol.name} {symbol.type} {symbol.kind.value}\n".encode())
        if symbol.kind is SymbolKind.CONSTANT and symbol.name in values:
            digest.update(np.ascontiguousarray(values[symbol.name]).tobytes())
    for graph in program.graphs:
        digest.update(f"graph {graph.kind.value} {graph.name}\n".encode())
        for node in graph.nodes:
            digest.update(f"{print_computation(node)}\n".encode())
        for output in graph.outputs:
            digest.update(f"store {output.value.name} {output.symbol}\n".encode())
    return digest.digest()
