"""PyTorch model to program: the front door of the frontend.

There is one way in. A survey traces, lowers and assembles, and goes on past every problem that can be gone past, so
that all are reported at once. `snc check` shows what a survey finds; a capture is a survey that found no problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compiler.frontend.assemble import Captured, assemble
from compiler.frontend.decompositions import decompositions
from compiler.frontend.dtypes import DENSE, is_supported, remedy
from compiler.frontend.joint import Joint
from compiler.frontend.kinds import kinds_of_tensors
from compiler.frontend.locations import definition_line
from compiler.frontend.lower import LoweredJoint, lower
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.state import unchanged
from compiler.frontend.tracing import trace
from compiler.frontend.walkthrough import walk
from ir.errors import CaptureError, Problem, UnsupportedError
from ir.location import Location

SHOWN = 3
"""Tensors named for a problem that several have."""


@dataclass(frozen=True)
class Steps:
    """What became of a model: the ATen graph that was traced, what that was lowered to, and the program."""

    joint: Joint
    lowered: LoweredJoint
    captured: Captured


@dataclass(frozen=True)
class Survey:
    """Everything that stands in the way of a model, or what became of it where nothing does.

    operators: how often each ATen operator occurs; refused: how often one was refused. Where PyTorch could not trace
    the model, they are those of a run on its sample inputs, and there are none where that fails too.
    untraced: what PyTorch stopped at while it traced the model.
    """

    problems: tuple[Problem, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    steps: Steps | None = None
    untraced: CaptureError | None = None


def capture(spec: ModelSpec, *, inference: bool, recompute: bool = True) -> Captured:
    """The model in `spec` as a program: FWD for inference; for training also BCKWD and, with an optimizer, OPT.

    The model itself stays as it is.

    With `recompute`, BCKWD computes again what is cheaper to compute than to save.

    Raises CaptureError where PyTorch cannot trace the model, UnsupportedError for what the device does not have, with
    everything that stands in the way and the user's lines.
    """
    return capture_steps(spec, inference=inference, recompute=recompute).captured


def capture_steps(spec: ModelSpec, *, inference: bool, recompute: bool = True) -> Steps:
    """As `capture`, with what came before the program."""
    found = survey(spec, inference=inference, recompute=recompute)
    if found.steps is not None:
        return found.steps
    kind = UnsupportedError if found.untraced is None or dtype_problems(spec) else CaptureError
    raise kind(*found.problems) from found.untraced


def survey(spec: ModelSpec, *, inference: bool, recompute: bool = True) -> Survey:
    """Trace, lower and assemble the model, going on past every problem that can be gone past."""
    problems = dtype_problems(spec)
    try:
        with kinds_of_tensors(spec.model), unchanged(spec.model, spec.loss, spec.call) as surroundings:
            joint = trace(spec, surroundings, inference=inference, decompositions=decompositions())
    except CaptureError as error:
        return _beyond(spec, error, problems, inference)
    attempt = lower(joint)
    problems += attempt.problems
    steps = None
    if attempt.lowered is not None and not problems:
        try:
            captured = assemble(spec, joint, attempt.lowered, inference=inference, recompute=recompute)
            steps = Steps(joint, attempt.lowered, captured)
        except UnsupportedError as error:
            problems += error.problems
    return Survey(tuple(problems), attempt.operators, attempt.refused, steps)


def _beyond(spec: ModelSpec, error: CaptureError, problems: list[Problem], inference: bool) -> Survey:
    """What else there is in a model that PyTorch could not trace, in the order of the user's lines.

    Where a run came to the end, it has found the cause at its own line, unless the cause is PyTorch's alone.
    """
    with kinds_of_tensors(spec.model), unchanged(spec.model, spec.loss, spec.call):
        walked = walk(spec, inference=inference, decompositions=decompositions())
    if walked.joint is None:
        seen = {_line(problem) for problem in walked.problems}
        found = [*walked.problems, *(problem for problem in error.problems if _line(problem) not in seen)]
        return Survey((*problems, *sorted(found, key=_line)), untraced=error)
    attempt = lower(walked.joint)
    found = list(dict.fromkeys([*walked.problems, *attempt.problems])) or list(error.problems)
    return Survey((*problems, *sorted(found, key=_line)), attempt.operators, attempt.refused, untraced=error)


def dtype_problems(spec: ModelSpec) -> list[Problem]:
    """Every kind of the model's own tensors that the device does not have, sparse ones and element types, with the
    tensors that are of it."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for what, name, tensor in _tensors(spec):
        if tensor.layout is not torch.strided:
            names.setdefault((what, "sparse", DENSE), []).append(name)
        elif not is_supported(tensor.dtype):
            names.setdefault((what, str(tensor.dtype).removeprefix("torch."), remedy(tensor.dtype)), []).append(name)
    return [
        Problem(_are(what, found, kind), _definition(spec, what), hint) for (what, kind, hint), found in names.items()
    ]


def _are(what: str, names: list[str], kind: str) -> str:
    shown = ", ".join(names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    many = len(names) > 1
    return f"{what}{'s' * many} {shown}{more} {'are' if many else 'is'} {kind}"


def _definition(spec: ModelSpec, what: str) -> Location | None:
    """Where the model file makes such tensors."""
    if not spec.file.is_file():
        return None
    return Location(spec.file.name, definition_line(spec.file, "inputs" if what == "input" else "model"))


def _tensors(spec: ModelSpec) -> Iterator[tuple[str, str, Tensor]]:
    for name, tensor in (*spec.inputs.items(), *spec.targets.items()):
        yield "input", name, tensor
    for name, parameter in spec.model.named_parameters():
        yield "parameter", name, parameter
    for name, buffer in spec.model.named_buffers():
        yield "buffer", name, buffer


def _line(problem: Problem) -> tuple[str, int]:
    where = problem.where
    return (where.file, where.line) if isinstance(where, Location) else (str(where or ""), 0)
