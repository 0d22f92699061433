"""Does this model compile? Every operator in it, and everything that is not supported, without mapping anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.errors import Problem, grouped
from pef.tables import Column, largest, number, print_table, shown_of, text


@dataclass(frozen=True, slots=True)
class SupportReport:
    """What `snc check` found.

    operators: how often each ATen operator occurs; refused: how often one was refused; inputs: types as text, by name;
    device_operators: how often each operator of the device occurs after the passes; parameter_bytes: as PyTorch holds
    them. Where anything is refused there are no operators of the device. Where PyTorch cannot trace the model, its
    operators are those of a run on its sample inputs; there are none where that fails too.
    """

    model: str
    inference: bool
    inputs: Mapping[str, str]
    parameters: int
    parameter_bytes: int
    operators: Mapping[str, int]
    refused: Mapping[str, int]
    device_operators: Mapping[str, int]
    problems: tuple[Problem, ...]

    @property
    def supported(self) -> bool:
        """Whether the model compiles."""
        return not self.problems


def check_model(path: str, inference: bool = False, batch_size: int | None = None) -> SupportReport:
    """Load, capture, lower and improve the model. Raises UsageError where there is no model to look at."""
    from compiler.frontend.capture import survey
    from compiler.frontend.model_file import load_model

    spec = load_model(path, batch_size, inference=inference)
    found = survey(spec, inference=inference)
    device: Counter[str] = Counter()
    if found.steps is not None:
        program = PassManager(standard_pipeline("mp0")).run(found.steps.captured.program)
        device.update(node.op.name for graph in program.graphs for node in graph.nodes)
    inputs = {name: f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for name, t in spec.inputs.items()}
    parameters = list(spec.model.parameters())
    return SupportReport(
        path,
        inference,
        inputs,
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        found.operators,
        found.refused,
        device,
        found.problems,
    )


def as_dict(report: SupportReport) -> dict[str, Any]:
    """The report for machines; a problem's `modules` are all those it occurs in."""
    return {
        "model": report.model,
        "supported": report.supported,
        "inference": report.inference,
        "inputs": dict(report.inputs),
        "parameters": report.parameters,
        "parameter_bytes": report.parameter_bytes,
        "operators": [
            {"name": name, "count": count, "refused": report.refused.get(name, 0)}
            for name, count in _by_count(report.operators)
        ],
        "device_operators": dict(_by_count(report.device_operators)),
        "problems": [
            {"message": each.message, "file": file, "line": line, "modules": each.modules, "try": each.hint or ""}
            for each in grouped(report.problems)
            for file, line in (each.line,)
        ],
    }


def render(report: SupportReport, console: Console, top: int = 10) -> None:
    """Print the `top` most frequent operators (0: all), the problems, and the answer last."""
    counts = _by_count(report.operators)
    if counts:
        shown = largest(counts, lambda row: row[1], top)
        print_table(console, f"operators{shown_of(shown, counts, 'most frequent')}", _columns(report), shown)
        console.print()
    for group in grouped(report.problems):
        console.print(str(group), soft_wrap=True, highlight=False, markup=False)
    console.print(_answer(report), soft_wrap=True, highlight=False, markup=False)


def _columns(report: SupportReport) -> list[Column[tuple[str, int]]]:
    refused: Column[tuple[str, int]] = number("not supported", lambda row: str(report.refused.get(row[0], "")))
    return [
        text("operator", lambda row: row[0]),
        number("count", lambda row: str(row[1])),
        *([refused] if report.refused else []),
    ]


def _answer(report: SupportReport) -> str:
    """One line: yes, with the size of the model; or no, with how much stands in the way."""
    purpose = "inference" if report.inference else "training"
    inputs = ", ".join(f"{name} {text}" for name, text in report.inputs.items())
    subject = f"{report.model} ({purpose}; {inputs}; {report.parameters:,} parameters)"
    total = sum(report.operators.values())
    if report.supported:
        device = sum(report.device_operators.values())
        return f"supported: {subject}: all {total} operators, {device} on the device"
    count = len(grouped(report.problems))
    problems = f"{count} problem{'s' if count > 1 else ''}"
    refused = f", {sum(report.refused.values())} of {total} operators" if report.refused else ""
    return f"not supported: {subject}: {problems}{refused}"


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
