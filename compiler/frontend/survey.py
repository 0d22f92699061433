"""What of a model the device has, without mapping it: everything that `snc check` reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from compiler.frontend.capture import assemble, dtype_problems
from compiler.frontend.decompositions import decompositions
from compiler.frontend.lower import attempt_to_lower
from compiler.frontend.lowering import LOWERINGS
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.tracing import trace
from ir.errors import CaptureError, Problem, UnsupportedError
from ir.graph import Program


@dataclass(frozen=True)
class Survey:
    """How often each ATen operator occurs and how often one was refused, all problems, and the program if there are
    none. Where PyTorch could not trace the model there are no operators."""

    problems: tuple[Problem, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    program: Program | None = None


def survey(spec: ModelSpec, *, inference: bool) -> Survey:
    """Trace and lower the model, going on past every problem that can be gone past."""
    problems = dtype_problems(spec)
    try:
        joint = trace(spec, inference=inference, decompositions=decompositions(LOWERINGS))
    except CaptureError as error:
        return Survey((*problems, *error.problems))
    attempt = attempt_to_lower(joint)
    problems += attempt.problems
    program = None
    if attempt.lowered is not None and not problems:
        try:
            program, _ = assemble(spec, joint, attempt.lowered, inference=inference)
        except UnsupportedError as error:
            problems += error.problems
    return Survey(tuple(problems), attempt.operators, attempt.refused, program)


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """The number of parameters, and their bytes as PyTorch holds them."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
