"""The one family of errors that users of the toolchain see.

An error says what was seen, where (the user's file, line and module path), and what to try. `code` is stable: tests,
documentation and scripts may rely on it. Everything of a kind is reported at once, as several `Problem`s of one error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from typing_extensions import Self

from ir.location import Location

SHOWN_MODULES = 3
"""Modules named for a problem that several have."""
SHOWN_PROBLEMS = 100
"""Problems listed in one message; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what was seen, where, and what to try."""

    message: str
    where: Location | str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where is not None else ""
        remedy = f"\n    try: {self.hint}" if self.hint else ""
        return f"{place}{self.message}{remedy}"


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """One problem at one place, with all modules that have it: layers of a model share their code."""

    message: str
    where: Location | str | None
    hint: str | None
    modules: list[str]

    @property
    def line(self) -> tuple[str, int]:
        """File and line; an empty name or 0 where there is none."""
        where = self.where
        return (where.file, where.line) if isinstance(where, Location) else (where or "", 0)

    def __str__(self) -> str:
        modules = ", ".join(self.modules[:SHOWN_MODULES])
        more = len(self.modules) - SHOWN_MODULES
        within = f" ({modules}{f' and {more} more' if more > 0 else ''})" if modules else ""
        return str(Problem(self.message, f"{self.where}{within}" if self.where is not None else None, self.hint))


def grouped(problems: Sequence[Problem]) -> list[ProblemGroup]:
    """The problems in order, those that differ in the module alone as one."""
    groups: dict[tuple[str, Location | str | None, str | None], ProblemGroup] = {}
    for problem in problems:
        where, module = problem.where, ""
        if isinstance(where, Location):
            where, module = replace(where, module=""), where.module
        key = (problem.message, where, problem.hint)
        group = groups.setdefault(key, ProblemGroup(*key, []))
        if module and module not in group.modules:
            group.modules.append(module)
    return list(groups.values())


class SncError(Exception):
    """Base of every error the toolchain raises for something a user can cause or mend."""

    code = "SNC"

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: tuple[Problem, ...] = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        """As it is, whatever a class takes to be made: errors cross from one process to another."""
        return Exception.__new__, (type(self), *self.args), self.__dict__

    def __str__(self) -> str:
        groups = grouped(self.problems)
        lines = [f"error[{self.code}]: {group}" for group in groups[:SHOWN_PROBLEMS]]
        if len(groups) > SHOWN_PROBLEMS:
            lines.append(f"error[{self.code}]: and {len(groups) - SHOWN_PROBLEMS} more of the kind")
        return "\n".join(lines)

    def at(self, where: Location | str) -> Self:
        """The same error at this place, for those of its problems that name none."""
        return type(self)(*(p if p.where is not None else replace(p, where=where) for p in self.problems))

    @classmethod
    def raise_if(cls, problems: Sequence[Problem]) -> None:
        """Raise one error that holds all `problems`, if there are any."""
        if problems:
            raise cls(*problems)


class UsageError(SncError):
    """Cause: a command or call with unusable arguments. Fix: as the hint says."""

    code = "USAGE"


class GraphError(SncError):
    """Cause: an invalid graph or graph text. Fix: the place it names; after a pass it is a bug of that pass."""

    code = "GRAPH"


class UnsupportedError(SncError):
    """Cause: a model uses something the compiler cannot map. Fix: the rewrite the hint names."""

    code = "UNSUPPORTED"


class CaptureError(SncError):
    """Cause: PyTorch could not trace the model, e.g. control flow on tensor values. Fix: the hint."""

    code = "CAPTURE"


class MachineError(SncError):
    """Cause: a machine file with missing, unknown or impossible entries. Fix: the entries it names."""

    code = "MACHINE"


class InfeasibleError(SncError):
    """Cause: a section that cannot fit the machine. Fix: one of the levers it lists."""

    code = "INFEASIBLE"


class PefError(SncError):
    """Cause: a file that is not a readable PEF: truncated, corrupted, foreign, newer. Fix: recompile or copy again."""

    code = "PEF"


class IllegalPefError(SncError):
    """Cause: a PEF that reads but breaks a rule of the machine. Fix: recompile; a compiler's output never does."""

    code = "CHECK"


class IndexOutsideError(SncError, IndexError):
    """Cause: a label or an index beyond the classes or rows there are. Fix: the data, or a larger table."""

    code = "INDEX"


class IntegerError(SncError, ArithmeticError):
    """Cause: a 64-bit integer that outgrows the device's 32 bits, or one divided by zero. Fix: as the hint says."""

    code = "INTEGER"


class ReplicaError(SncError):
    """Cause: replicas of a data parallel run that do not fit together, or one that stopped. Fix: as the hint says."""

    code = "REPLICA"


class BindError(SncError):
    """Cause: tensors given to a run do not match the PEF's symbols. Fix: names, shapes and dtypes as listed."""

    code = "BIND"


class NodeError(SncError):
    """Cause: a node's daemon that refuses tiles, does not answer, or hardware that failed. Fix: as the hint says."""

    code = "NODE"


class MissingExtraError(SncError):
    """Cause: a package that only some commands need is not installed. Fix: install the extra that brings it."""

    code = "EXTRA"


class OutOfMemoryError(SncError):
    """Cause: the computer has less memory than the work takes. Fix: as the hint says."""

    code = "MEMORY"


class InternalError(SncError):
    """Cause: a fault of the toolchain itself. Fix: run again with -v, and report what it prints."""

    code = "INTERNAL"
