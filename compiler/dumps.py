"""Dumps of a mapping: a folder that holds all it takes to go on from the step after which it was written.

plan.yaml            what has been decided: for people to read and change
program.ir           the program, after all passes
header.json          what the PEF will say of its origin
weights.safetensors  initial weights and recorded inputs
reference.npz        PyTorch's outputs for them, where there are any
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from backends.rdu.compile import BackendOptions
from backends.rdu.dump.plan_text import parse_plan, print_plan
from backends.rdu.plan import Plan, Step
from ir.errors import Problem, UsageError
from ir.graph import Program, SymbolKind
from ir.op import Array
from ir.text import parse_program, print_program
from ir.verifier import verify
from pef.files import readable_refusal
from pef.machine import Machine
from pef.transaction import writing_together
from pef.uniform import is_uniform, uniform_metadata, uniform_tensors

PLAN, PROGRAM, HEADER = "plan.yaml", "program.ir", "header.json"
WEIGHTS, REFERENCE = "weights.safetensors", "reference.npz"


@dataclass(frozen=True)
class Origin:
    """What a PEF is made of beside its plan: the program, its header, initial values of symbols, and the content of the
    reference file, empty where there is none."""

    program: Program
    header: Mapping[str, Any]
    values: Mapping[str, Array]
    reference: bytes

    @property
    def name(self) -> str:
        """The name of the PEF."""
        return str(self.header["name"])

    @cached_property
    def weights(self) -> bytes:
        """The initial values as a safetensors file; states that are one number, in its metadata."""
        from safetensors.numpy import save

        states = {symbol.name for symbol in self.program.symbols if symbol.kind is SymbolKind.STATE}
        uniform = {name: array for name, array in self.values.items() if name in states and is_uniform(array)}
        values = {n: np.asarray(a, order="C") for n, a in sorted(self.values.items()) if n not in uniform}
        content: bytes = save(values, uniform_metadata(uniform) or None)
        return content


def write_dump(folder: Path, origin: Origin, plan: Plan, machine: Machine, options: BackendOptions, step: Step) -> Path:
    """Write everything that is decided up to `step` into `folder`, and return that. Raises UsageError where the file
    system refuses."""
    contents = {
        PROGRAM: print_program(origin.program).encode(),
        HEADER: json.dumps(origin.header, indent=1, sort_keys=True).encode(),
        WEIGHTS: origin.weights,
        REFERENCE: origin.reference,
        PLAN: print_plan(plan, machine, options, step).encode(),
    }
    with writing_together([folder / name for name in contents]) as files:
        for file, content in zip(files, contents.values()):
            file.write(content)
    return folder


def read_dump(folder: Path) -> tuple[Origin, Plan, Machine, BackendOptions]:
    """What a dump holds. Raises UsageError for files that are missing or do not belong in one, GraphError for text that
    is not a program."""
    if not (folder / PLAN).is_file():
        hint = "give the folder that snc compile --stop-after or --dump-after wrote"
        raise UsageError(Problem(f"{folder} holds no {PLAN}", hint=hint))
    contents = {}
    for name in (PLAN, PROGRAM, HEADER, WEIGHTS, REFERENCE):
        with readable_refusal(folder / name, "read", "dump the mapping again"):
            contents[name] = (folder / name).read_bytes()
    program = parse_program(contents[PROGRAM].decode(), str(folder / PROGRAM))
    verify(program)
    plan, machine, options, _ = parse_plan(contents[PLAN].decode(), program, str(folder / PLAN))
    try:
        header = json.loads(contents[HEADER])
    except ValueError as error:
        hint = "copy the file again, or write the dump anew"
        raise UsageError(Problem(f"this is not JSON: {error}", str(folder / HEADER), hint)) from error
    values = decode_safetensors(contents[WEIGHTS], str(folder / WEIGHTS))
    return Origin(program, header, values, contents[REFERENCE]), plan, machine, options


def decode_safetensors(content: bytes, source: str) -> dict[str, Array]:
    """The arrays of a safetensors file. Raises UsageError for what is not one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        values: dict[str, Array] = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return values | uniform_tensors(header.get("__metadata__") or {})
    except (SafetensorError, ValueError, TypeError) as error:
        raise UsageError(Problem(f"this is not a safetensors file: {error}", source)) from error
