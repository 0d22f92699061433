"""What makes two programs the same one, and what does not."""

from __future__ import annotations

import numpy as np

from ir.builder import GraphBuilder
from ir.digest import program_digest
from ir.graph import Program, SectionKind, Symbol, SymbolKind
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType

TENSOR = TensorType(DType.F32, (4, 8))
VALUES = {"w": np.ones((4, 8), np.float32), "c": np.full((4, 8), 2.0, np.float32)}


def program(line: int = 1, function: str = "tanh", kind: SymbolKind = SymbolKind.CONSTANT) -> Program:
    """y = tanh(w) * c, as it stands in some line of some file."""
    builder = GraphBuilder(SectionKind.FWD)
    builder.location = Location(f"model{line}.py", line, "net")
    w, c = builder.input("w", TENSOR), builder.input("c", TENSOR)
    y = builder.add(OPS["mul"](), builder.add(OPS[function](), w), c)
    builder.output("y", y)
    symbols = (
        Symbol("w", TENSOR, SymbolKind.PARAMETER),
        Symbol("c", TENSOR, kind),
        Symbol("y", TENSOR, SymbolKind.OUTPUT),
    )
    return Program(f"from line {line}", symbols, (builder.build(),))


def test_where_it_stands_and_what_it_starts_from_do_not_matter() -> None:
    moved = program_digest(program(line=7), {**VALUES, "w": np.zeros((4, 8), np.float32)})
    assert program_digest(program(), VALUES) == moved


def test_what_it_computes_does() -> None:
    digests = {
        program_digest(program(), VALUES),
        program_digest(program(function="exp"), VALUES),
        program_digest(program(kind=SymbolKind.BUFFER), VALUES),
        program_digest(program(), {**VALUES, "c": np.ones((4, 8), np.float32)}),
    }
    assert len(digests) == 4
