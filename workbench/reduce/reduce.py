"""Reducing: make a program smaller as long as it still shows what is looked for."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compiler.driver import Target
from compiler.pass_manager import PassManager
from ir.errors import SncError
from ir.graph import Program
from ir.op import Array
from ir.text import print_program
from ir.verifier import verify
from pef.wording import counted
from workbench.bisect.bisect import bisect_program
from workbench.numbers.runs import complete_values
from workbench.numbers.subject import Subject
from workbench.reduce.shrinking import SHRINKERS

Test = Callable[[Program], bool]
"""Whether a program shows the fault."""

MOST_TRIES = 2000
"""Programs that are tried before the smallest so far is good enough."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """The smallest program found, and how many were tried."""

    program: Program
    tried: int


def reduce_program(program: Program, shows: Test, note: Callable[[str], None] = lambda line: None) -> Reduced:
    """The smallest program found that `shows`; `program` has to. Every candidate is valid."""
    tried, smallest = 0, program
    seen = {print_program(program)}
    improved = True
    while improved and tried < MOST_TRIES:
        improved = False
        for shrink in SHRINKERS:
            found = True
            while found and tried < MOST_TRIES:
                found = False
                for candidate in shrink(smallest):
                    if not _is_fresh(candidate, seen) or size(candidate) >= size(smallest):
                        continue
                    tried += 1
                    if shows(candidate):
                        smallest, found, improved = candidate, True, True
                        note(f"{size_in_words(smallest)}, by {shrink.__name__.replace('_', ' ')}")
                        break
    return Reduced(smallest, tried)


def _is_fresh(candidate: Program, seen: set[str]) -> bool:
    """Whether a candidate is valid and was not tried before."""
    try:
        verify(candidate)
    except SncError:
        return False
    text = print_program(candidate)
    fresh = text not in seen and bool(candidate.graphs)
    seen.add(text)
    return fresh


def size(program: Program) -> tuple[int, int, int]:
    """Nodes, symbols, and elements of all symbols: what is smaller in the first counts most."""
    nodes = sum(len(graph.nodes) for graph in program.graphs)
    return nodes, len(program.symbols), sum(symbol.type.numel for symbol in program.symbols)


def size_in_words(program: Program) -> str:
    """For people."""
    nodes, symbols, elements = size(program)
    return ", ".join((counted(nodes, "node"), counted(symbols, "symbol"), counted(elements, "element")))


def numbers_differ(subject: Subject, target: Target, level: str) -> Test:
    """Whether a pass, or a section of the compiled program, makes an error of its own."""

    def shows(program: Program) -> bool:
        own = Subject(program, complete_values(program, _fitting(subject, program)))
        try:
            findings = bisect_program(own, target)
        except SncError:
            return False
        return any(finding.is_wrong and finding.level == level for finding in findings)

    return shows


def _fitting(subject: Subject, program: Program) -> dict[str, Array]:
    """The values of the subject that a smaller program can still use."""
    return {
        symbol.name: subject.values[symbol.name]
        for symbol in program.symbols
        if symbol.name in subject.values and subject.values[symbol.name].shape == symbol.type.shape
    }


def fails_with(code: str, target: Target) -> Test:
    """Whether compiling the program ends in the error of this code."""
    from backends.rdu.compile import compile_program
    from pef.check import check

    def shows(program: Program) -> bool:
        try:
            improved = PassManager(target.passes).run(program)
            check(compile_program(improved, target.machine, target.options))
        except SncError as error:
            return error.code == code
        return False

    return shows


def command_succeeds(command: str) -> Test:
    """Whether a command ends with status 0 for the program, whose file takes the place of {}."""

    def shows(program: Program) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "program.ir"
            path.write_text(print_program(program))
            return subprocess.run(command.replace("{}", str(path)), shell=True, capture_output=True).returncode == 0

    return shows
