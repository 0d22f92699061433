"""What of a model the device has, without mapping it: everything that `snc check` reports, and a compile that fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from compiler.frontend.capture import Captured, assemble, capture, dtype_problems
from compiler.frontend.decompositions import decompositions
from compiler.frontend.lower import attempt_to_lower
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.state import unchanged
from compiler.frontend.tracing import trace
from compiler.frontend.walkthrough import walk
from ir.errors import CaptureError, Problem, UnsupportedError
from ir.graph import Program
from ir.location import Location


@dataclass(frozen=True)
class Survey:
    """How often each ATen operator occurs and how often one was refused, all problems, and the program if there are
    none. Where PyTorch could not trace the model there are no operators."""

    problems: tuple[Problem, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    program: Program | None = None


def capture_or_explain(spec: ModelSpec, *, inference: bool, recompute: bool = True) -> Captured:
    """The captured model (see `capture`), which itself stays as it is. Raises CaptureError or UnsupportedError with
    everything that `survey` finds in its way."""
    try:
        with unchanged(spec.model):
            return capture(spec, inference=inference, recompute=recompute)
    except CaptureError as error:
        raise CaptureError(*_beyond(spec, error, [], inference).problems) from error
    except UnsupportedError as error:
        if not dtype_problems(spec):
            raise  # with every operator already
        raise UnsupportedError(*survey(spec, inference=inference).problems) from error


def survey(spec: ModelSpec, *, inference: bool) -> Survey:
    """Trace and lower the model, going on past every problem that can be gone past."""
    problems = dtype_problems(spec)
    try:
        with unchanged(spec.model):
            joint = trace(spec, inference=inference, decompositions=decompositions())
    except CaptureError as error:
        return _beyond(spec, error, problems, inference)
    attempt = attempt_to_lower(joint)
    problems += attempt.problems
    program = None
    if attempt.lowered is not None and not problems:
        try:
            program, _ = assemble(spec, joint, attempt.lowered, inference=inference)
        except UnsupportedError as error:
            problems += error.problems
    return Survey(tuple(problems), attempt.operators, attempt.refused, program)


def _beyond(spec: ModelSpec, error: CaptureError, problems: list[Problem], inference: bool) -> Survey:
    """What else there is in a model that PyTorch could not trace, in the order of the user's lines.

    Where a run came to the end, it has found the cause at its own line, unless the cause is PyTorch's alone.
    """
    with unchanged(spec.model):
        walked = walk(spec, inference=inference, decompositions=decompositions())
    if walked.joint is None:
        seen = {_line(problem) for problem in walked.problems}
        found = [*walked.problems, *(problem for problem in error.problems if _line(problem) not in seen)]
        return Survey((*problems, *sorted(found, key=_line)))
    attempt = attempt_to_lower(walked.joint)
    found = list(dict.fromkeys([*walked.problems, *attempt.problems])) or list(error.problems)
    return Survey((*problems, *sorted(found, key=_line)), attempt.operators, attempt.refused)


def _line(problem: Problem) -> tuple[str, int]:
    where = problem.where
    return (where.file, where.line) if isinstance(where, Location) else (str(where or ""), 0)


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """The number of parameters, and their bytes as PyTorch holds them."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
