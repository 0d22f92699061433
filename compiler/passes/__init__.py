"""From program to program, one file per pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from compiler.passes.algebra import Algebra
from compiler.passes.canonicalize import Canonicalize
from compiler.passes.cse import Cse
from compiler.passes.dce import Dce
from compiler.passes.fold_constants import FoldConstants
from compiler.passes.precision import Precision
from compiler.passes.prove_integers import ProveIntegers
from ir.graph import Program


class Pass(Protocol):
    """A pure function from program to program: a frozen dataclass whose fields are its options."""

    name: ClassVar[str]

    def __call__(self, program: Program) -> Program:
        """The program after this pass."""


PASSES: dict[str, Callable[..., Pass]] = {
    kind.name: kind for kind in (Precision, Canonicalize, FoldConstants, ProveIntegers, Algebra, Cse, Dce)
}
"""Every pass by name."""


def standard_pipeline(preset: str) -> tuple[Pass, ...]:
    """What every program goes through, with precision as `preset` says.

    Canonical forms come first so that presets cast each value once; folding and algebra leave views for a second
    round; what became equal or unused goes last.
    """
    return (
        Canonicalize(),
        Precision(preset),
        FoldConstants(),
        ProveIntegers(),
        Algebra(),
        Canonicalize(),
        Cse(),
        Dce(),
    )
