"""A pipeline of passes over a program, with what each did to its size and, where asked for, to its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.pass_manager import PassManager
from compiler.passes import Pass
from ir.errors import Problem, UsageError
from ir.graph import Program
from ir.op import Array
from ir.text import print_program
from workbench.numbers.errors import differences, largest, rounds_to_bf16, tolerance
from workbench.numbers.runs import complete_values, rounding_noise, run_program

ROUNDINGS = 8.0
"""How many times the noise of rounded inputs the rounding of all values between may make."""


@dataclass(frozen=True, slots=True)
class Step:
    """One pass: the nodes it left, the seconds it took, and the largest relative errors it made.

    isolated: against the program just before it; accumulated: against the one before all passes. None where numbers
    were not compared.
    """

    name: str
    nodes: int
    seconds: float
    program: Program
    isolated: float | None = None
    accumulated: float | None = None
    worst: str = ""
    tolerance: float = 0.0
    accumulated_tolerance: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether the numbers stayed what they were but for rounding, as far as they were compared."""
        return self.isolated is None or self.isolated <= self.tolerance


def run_pipeline(
    program: Program,
    passes: Sequence[Pass],
    values: Mapping[str, Array] | None = None,
    show: Callable[[str], None] | None = None,
) -> Iterator[Step]:
    """The steps of a pipeline. With `values`, numbers are compared before and after every pass; `show` gets the text
    in between. Raises GraphError, naming the pass, where one makes an invalid program."""
    begun = run_program(program, values) if values is not None else {}
    before, expected, allowed_in_all = begun, program, 0.0
    for transform in passes:
        manager = PassManager([transform])
        after = manager.run(expected)
        timing = manager.timings[0]
        step = Step(transform.name, timing.nodes, timing.seconds, after)
        if show is not None:
            show(f"// after {transform.name}\n{print_program(after)}")
        if values is not None:
            numbers = run_program(after, complete_values(after, values))
            found = differences(numbers, before)
            worst = found[0].name if found else ""
            allowed = _allowed(expected, after, values, before)
            allowed_in_all = max(allowed_in_all, allowed)
            step = Step(
                transform.name,
                timing.nodes,
                timing.seconds,
                after,
                largest(found),
                largest(differences(numbers, begun)),
                worst,
                allowed,
                allowed_in_all,
            )
            before = numbers
        expected = after
        yield step


def _allowed(before: Program, after: Program, values: Mapping[str, Array], numbers: Mapping[str, Array]) -> float:
    """The error that rounding explains: where a pass makes values bf16, a few times what one rounding of the inputs
    does to the program before it."""
    if rounds_to_bf16(after) and not rounds_to_bf16(before):
        return max(tolerance(after), ROUNDINGS * rounding_noise(before, complete_values(before, values), numbers))
    return tolerance(before, after)


def require_right(steps: Sequence[Step]) -> None:
    """Raise UsageError that lists every pass after which the numbers were others."""
    UsageError.raise_if(
        [
            Problem(
                f"pass {step.name} changes {step.worst} by {step.isolated:.2g} of its size, "
                f"more than {step.tolerance:.2g}",
                hint="snc reduce finds the smallest program that shows it",
            )
            for step in steps
            if not step.is_right
        ]
    )
