"""Bisecting: compile a model as usual, and compare numbers at every level on the way."""

from __future__ import annotations

from collections.abc import Iterator

from backends.rdu.compile import advance, emit_program
from backends.rdu.plan import Plan
from compiler.driver import CompileRequest, Target
from compiler.passes.precision import round_values
from ir.graph import Program
from pef.check import check
from workbench.bisect.device import compare_sections
from workbench.bisect.findings import Bisection, Finding
from workbench.numbers.runs import complete_values
from workbench.numbers.subject import Subject, read_subject
from workbench.opt.pipeline import Step, run_pipeline


def bisect(request: CompileRequest) -> Bisection:
    """Compare at every level. `request.model` is a model file, or a program as text (`.ir`), which PyTorch cannot be
    asked about. Raises what compiling raises."""
    target = request.target()
    findings: list[Finding] = []
    remarks = []
    if request.model.endswith(".ir"):
        subject = read_subject(request.model, inference=request.inference, batch_size=None, seed=request.seed)
        remarks.append("PyTorch is not asked: a program as text has no PyTorch model")
    else:
        found, subject = _beside_torch(request)
        findings += found
        if not found:
            remarks.append("PyTorch is not asked: the model has no content")
    findings += bisect_program(subject, target)
    return Bisection(findings, remarks)


def bisect_program(subject: Subject, target: Target) -> list[Finding]:
    """Passes, then sections with what is inside."""
    steps = list(run_pipeline(subject.program, target.passes, subject.values))
    program = steps[-1].program if steps else subject.program
    return [*map(_pass_finding, steps), *_mapped(program, subject, target)]


def _mapped(program: Program, subject: Subject, target: Target) -> Iterator[Finding]:
    values = round_values(program, complete_values(program, subject.values))
    plan = Plan.of(program)
    advance(plan, target.machine, target.options)
    pef = emit_program(plan, target.machine, target.options)
    return compare_sections(check(pef), plan, program, values)


def _pass_finding(step: Step) -> Finding:
    return Finding(
        "pass",
        step.name,
        step.isolated,
        step.accumulated,
        step.tolerance,
        accumulated_tolerance=step.accumulated_tolerance,
    )


def _beside_torch(request: CompileRequest) -> tuple[list[Finding], Subject]:
    from compiler.frontend.capture import capture_steps
    from compiler.frontend.model_file import load_model
    from workbench.bisect.operators import compare_operators

    spec = load_model(request.model, request.batch_size, request.seed, inference=request.inference)
    steps = capture_steps(spec, inference=request.inference, recompute=request.recomputes())
    found, captured = list(compare_operators(spec, steps)), steps.captured
    return found, Subject(captured.program, complete_values(captured.program, captured.values, request.seed))
