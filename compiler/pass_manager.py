"""Running passes one after another: verified in between, timed, and printed where asked for.

A pipeline can be written as text: `canonicalize,fold-constants,precision{preset=mp1},cse,dce`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, is_dataclass

from backends.extensions import PASSES as ADDED
from backends.extensions import added, load_added
from compiler.passes import PASSES, Pass
from ir.errors import GraphError, Problem, UsageError
from ir.graph import Program
from ir.text import print_program
from ir.verifier import verify


@dataclass(frozen=True, slots=True)
class PassTiming:
    """How long one pass took, and how many nodes it left."""

    name: str
    seconds: float
    nodes: int


@dataclass
class PassManager:
    """Runs `passes` in order; `show` gets the program's text after each pass named in `print_after`.

    `timings` holds what the last run took, one entry per pass.
    """

    passes: Sequence[Pass]
    print_after: Collection[str] = ()
    show: Callable[[str], None] = print
    timings: list[PassTiming] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Raises UsageError where `print_after` names no pass."""
        unknown = [name for name in self.print_after if name not in {*PASSES, *(p.name for p in self.passes)}]
        UsageError.raise_if([_unknown_pass(name) for name in unknown])

    def run(self, program: Program) -> Program:
        """The program after all passes. Raises GraphError naming the pass that made it invalid."""
        verify(program)
        self.timings.clear()
        for transform in self.passes:
            start = time.perf_counter()
            program = transform(program)
            seconds = time.perf_counter() - start
            nodes = sum(len(graph.nodes) for graph in program.graphs)
            self.timings.append(PassTiming(transform.name, seconds, nodes))
            _check(transform, program)
            if transform.name in self.print_after:
                self.show(f"// after {transform.name}\n{print_program(program)}")
        return program


def _check(transform: Pass, program: Program) -> None:
    try:
        verify(program)
    except GraphError as error:
        raise GraphError(Problem(f"pass {transform.name} made an invalid program"), *error.problems) from error


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """The passes written as `name` or `name{option=value,...}`, separated by commas. Raises UsageError."""
    items = [item.strip() for item in re.split(r",(?![^{]*})", text) if item.strip()]
    return tuple(map(_parse_pass, items))


def _parse_pass(item: str) -> Pass:
    match = re.fullmatch(r"([\w\-]+)(?:{([^}]*)})?", item)
    if match is None or match[1] not in {*PASSES, *added(ADDED)}:
        raise UsageError(_unknown_pass(item))
    kind = PASSES[match[1]] if match[1] in PASSES else load_added(ADDED, match[1])
    pairs = [option.partition("=") for option in (match[2] or "").split(",") if option]
    try:
        made: Pass = kind(**{name.strip(): value.strip() for name, _, value in pairs})
        return made
    except TypeError as error:
        names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
        hint = f"its options are {', '.join(names)}" if names else "it takes no options"
        raise UsageError(Problem(f"pass {match[1]} has no such option: {match[2]}", hint=hint)) from error


def _unknown_pass(name: str) -> Problem:
    return Problem(f"there is no pass {name!r}", hint=f"there are {', '.join((*PASSES, *added(ADDED)))}")
