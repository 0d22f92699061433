"""What tools for numbers work on: a model file, or a program as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler.dumps import WEIGHTS, decode_safetensors
from ir.graph import Program
from ir.op import Array
from ir.text import parse_program
from ir.verifier import verify
from pef.files import readable_refusal
from workbench.numbers.runs import complete_values


@dataclass(frozen=True, slots=True)
class Subject:
    """A program before any pass, and values of all symbols that it reads: those of the model, or random ones."""

    program: Program
    values: Mapping[str, Array]


def read_subject(path: str, *, inference: bool, batch_size: int | None, seed: int) -> Subject:
    """The program of a `.ir` file (with the weights of a dump where they lie beside it), or of a model file.

    Raises UsageError, GraphError or what capturing the model raises.
    """
    if Path(path).suffix == ".ir":
        return _from_text(Path(path), seed)
    from compiler.frontend.capture import capture
    from compiler.frontend.model_file import load_model

    captured = capture(load_model(path, batch_size, seed, inference=inference), inference=inference)
    return Subject(captured.program, complete_values(captured.program, captured.values, seed))


def _from_text(path: Path, seed: int) -> Subject:
    with readable_refusal(path, "read", "check the path"):
        text = path.read_text(encoding="utf-8")
    program = parse_program(text, path.name)
    verify(program)
    beside = path.parent / WEIGHTS
    known = decode_safetensors(beside.read_bytes(), str(beside)) if beside.is_file() else {}
    fitting = {n: a for n, a in known.items() if n in program.symbol and a.shape == program.symbol[n].type.shape}
    return Subject(program, complete_values(program, fitting, seed))
