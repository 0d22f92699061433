"""A PEF opened as the compiler left it: with the constants, and any weights, that it wrote beside it."""

from __future__ import annotations

from pathlib import Path

from ir.errors import Problem, UsageError
from ir.graph import SymbolKind
from runtime.files.weights import read_weights
from runtime.session import Session


def open_pef(pef: Path, threads: int | None = None) -> Session:
    """A session with everything that lies beside the PEF. Raises UsageError where constants were left behind."""
    if not pef.is_file():
        raise UsageError(
            Problem(f"there is no PEF {pef}", hint="compile first, or give the path that compiling printed")
        )
    session = Session(pef, threads)
    beside = pef.with_suffix(".safetensors")
    if beside.exists():
        session.load_weights(read_weights(beside), strict=False)
    lacking = [name for name in session.names(SymbolKind.CONSTANT) if not session.has_value(name)]
    if lacking:
        hint = f"copy {beside.name} along with the PEF: it was written beside it"
        raise UsageError(Problem(f"{pef} needs the {len(lacking)} constants in {beside}", hint=hint))
    return session
