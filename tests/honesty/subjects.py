"""Compiled models with the inputs they run on, and ways to run changed copies of their PEFs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import MACHINE_FOLDER, load_machine
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.graph import SymbolKind
from ir.op import Array
from pef import pef_pb2 as pb
from pef.check import check
from runtime.session import Session
from tests.models.toolchain import compiled, spec


@dataclass
class Subject:
    """A PEF, the values its symbols start from, and its inputs."""

    pef: pb.Pef
    values: dict[str, Array]
    inputs: dict[str, Array]

    def copy(self) -> pb.Pef:
        """A copy to change."""
        return copy.deepcopy(self.pef)

    def run(self, pef: pb.Pef, steps: int = 2) -> dict[str, Array]:
        """Everything that some steps leave in device memory for the host to see."""
        session = Session(pef, threads=1)
        for name, value in self.values.items():
            session.write(name, value)
        for _ in range(steps):
            session.run(inputs=self.inputs)
        kinds = (SymbolKind.OUTPUT, SymbolKind.GRADIENT, SymbolKind.PARAMETER, SymbolKind.STATE, SymbolKind.BUFFER)
        return {name: session.read(name) for name in session.names(*kinds)}


def training_step() -> Subject:
    """The residual network, trained by SGD."""
    model = spec("res_ffn", "sgd")
    result = compiled(model)
    inputs = {name: to_array(tensor) for name, tensor in model.inputs.items()}
    return Subject(result.pef, result.values, inputs)


class Compute(nn.Module):
    """A model that is one function of its inputs."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function

    def forward(self, *operands: torch.Tensor) -> torch.Tensor:
        """Apply the function."""
        return self.function(*operands)


def compile_function(function, *shapes: tuple[int, ...], machine: str | Path = "sn30", fuse: bool = True) -> pb.Pef:  # type: ignore[no-untyped-def]
    """The PEF of a function of float32 tensors, compiled for inference, with no other passes than the standard ones."""
    inputs = {f"operands_{i}": torch.zeros(shape) for i, shape in enumerate(shapes)}
    captured = capture(ModelSpec(Compute(function), inputs, name="function"), inference=True)
    program = PassManager(standard_pipeline("mp0")).run(captured.program)
    pef = compile_program(program, load_machine(machine), BackendOptions(fuse=fuse))
    check(pef)
    return pef


def machine_file(folder: Path, name: str = "sn30", **values: float) -> Path:
    """A copy of a machine file with other values of some keys."""
    lines = (MACHINE_FOLDER / f"{name}.toml").read_text().splitlines()
    for key, value in values.items():
        found = [number for number, line in enumerate(lines) if line.startswith(f"{key} = ")]
        assert found, key
        for number in found:
            lines[number] = f'{key} = {{ value = {value}, source = "guess: for a test" }}'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{'_'.join(f'{k}_{v}' for k, v in values.items())}.toml".replace("+", "")
    path.write_text("\n".join(lines))
    return path


def distance(a: Array, b: Array) -> float:
    """The largest difference relative to the largest magnitude."""
    a64, b64 = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a64 - b64).max(initial=0.0)) / max(float(np.abs(b64).max(initial=0.0)), 1e-30)
