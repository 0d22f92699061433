"""Running passes one after another: verified in between, timed, and printed where asked for.

A pass is a frozen dataclass with a `name` and a `__call__` from program to program; its fields are its options. A
pipeline can be written as text: `canonicalize,fold-constants,precision{preset=mp1},cse,dce`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from compiler.passes.algebra import Algebra
from compiler.passes.canonicalize import Canonicalize
from compiler.passes.cse import Cse
from compiler.passes.dce import Dce
from compiler.passes.fold_constants import FoldConstants
from compiler.passes.precision import Precision
from ir.errors import GraphError, Problem, UsageError
from ir.graph import Program
from ir.text import print_program
from ir.verifier import verify


class Pass(Protocol):
    """A pure function from program to program."""

    name: ClassVar[str]

    def __call__(self, program: Program) -> Program:
        """The program after this pass."""


PASSES: dict[str, Callable[..., Pass]] = {
    kind.name: kind for kind in (Canonicalize, FoldConstants, Algebra, Cse, Dce, Precision)
}
"""Every pass by name."""

DEFAULT_PIPELINE = "canonicalize,fold-constants,algebra,canonicalize,cse,dce"
"""What every program goes through; precision is assigned before it."""


@dataclass(frozen=True)
class PassTime:
    """How long one pass took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class PassManager:
    """Runs `passes` in order; `show` gets the program's text after each pass named in `print_after`."""

    passes: Sequence[Pass]
    print_after: frozenset[str] = frozenset()
    show: Callable[[str], None] = field(default=print)

    def run(self, program: Program) -> tuple[Program, tuple[PassTime, ...]]:
        """The program after all passes, and their times. Raises GraphError naming the pass that broke it."""
        verify(program)
        times = []
        for transform in self.passes:
            start = time.perf_counter()
            program = transform(program)
            times.append(PassTime(transform.name, time.perf_counter() - start))
            self._check(transform, program)
            if transform.name in self.print_after:
                self.show(f"// after {transform.name}\n{print_program(program)}")
        return program, tuple(times)

    def _check(self, transform: Pass, program: Program) -> None:
        try:
            verify(program)
        except GraphError as error:
            raise GraphError(Problem(f"pass {transform.name} made an invalid program"), *error.problems) from error


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """The passes written as `name` or `name{option=value,...}`, separated by commas."""
    items = [item.strip() for item in re.split(r",(?![^{]*})", text) if item.strip()]
    return tuple(_parse_pass(item) for item in items)


def _parse_pass(item: str) -> Pass:
    match = re.fullmatch(r"([\w\-]+)(?:{([^}]*)})?", item)
    if match is None or match[1] not in PASSES:
        known = ", ".join(PASSES)
        raise UsageError(Problem(f"there is no pass {item!r}", hint=f"use passes among {known}"))
    pairs = [option.partition("=") for option in (match[2] or "").split(",") if option]
    try:
        return PASSES[match[1]](**{name.strip(): value.strip() for name, _, value in pairs})
    except TypeError as error:
        raise UsageError(f"pass {match[1]}: {error}") from error
