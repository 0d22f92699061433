"""PEFs to change, each with the values that its symbols start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compiler.driver import CompileRequest, compile_spec
from compiler.frontend.model_file import ModelSpec
from ir.graph import SymbolKind
from ir.op import Array
from pef import pef_pb2 as pb
from pef.belonging import seal
from runtime.files.weights import read_weights
from runtime.session import Session
from runtime.snrun.infer import require_outputs
from tests.pef.samples import SAMPLES

SEEN = (SymbolKind.OUTPUT, SymbolKind.GRADIENT, SymbolKind.PARAMETER, SymbolKind.STATE, SymbolKind.BUFFER)
"""What is left in device memory for the host to see."""
STEPS = 2


@dataclass(frozen=True)
class Subject:
    """A PEF and what its symbols start from, by name."""

    pef: pb.Pef
    values: Mapping[str, Array]

    def numbers(self, pef: pb.Pef, *, strict: bool = False) -> dict[str, Array]:
        """What some steps of `pef`, which may be a changed one, leave for the host to see."""
        session = Session(pef, threads=1, strict=strict)
        try:
            if any(symbol.kind == SymbolKind.OUTPUT.value for symbol in self.pef.symbols):
                require_outputs(session)
            session.load_weights(self.values, strict=False)
            seen: dict[str, Array] = {}
            for step in range(STEPS):
                outputs = session.run()
                seen.update({f"{name} of step {step}": array for name, array in outputs.items()})
            seen.update({name: session.read(name) for name in session.names(*SEEN)})
            return seen
        finally:
            session.close()


class Trained(nn.Module):
    """A bit of everything: products, a batch norm with running statistics, a residual, a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 8, bias=False)
        self.norm = nn.BatchNorm1d(8)
        self.leave = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and logits."""
        h = self.norm(self.enter(x))
        logits = self.leave(h + nn.functional.leaky_relu(h, 0.1))
        return nn.functional.cross_entropy(logits, label), logits


def _compiled(folder: Path, level: str, inference: bool, optimizer: str, replicas: int | None = None) -> Subject:
    torch.manual_seed(0)
    model = Trained()
    inputs = {"x": torch.randn(16, 6), "label": torch.randint(3, (16,))}
    made = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "adam": lambda: torch.optim.Adam(model.parameters(), lr=0.01),
    }[optimizer]()
    spec = ModelSpec(model, inputs, optimizer=made, max_grad_norm=1.0 if optimizer == "adam" else None)
    name = f"{level}_{optimizer}_{inference}"
    request = CompileRequest("m.py", inference, None, folder, name, level=level, replicas=replicas)
    result = compile_spec(spec, request)
    return Subject(result.pef, read_weights(result.weights_path))


def _sample(name: str) -> Subject:
    pef = SAMPLES[name]()
    seal(pef, b"", b"")
    draw = np.random.default_rng(1)
    given = {symbol.name: tuple(symbol.type.shape) for symbol in pef.symbols if symbol.persistent}
    return Subject(pef, {name: draw.standard_normal(shape).astype(np.float32) for name, shape in given.items()})


@cache
def subject(name: str, folder: Path) -> Subject:
    """A subject by name; the compiler writes into `folder`."""
    compiled = {
        "inference": ("o3", True, "sgd", None),
        "training": ("o3", False, "sgd", None),
        "operator by operator": ("o0", False, "sgd", None),
        "replicas": ("o3", False, "adam", 2),
    }
    return _sample(name) if name in SAMPLES else _compiled(folder, *compiled[name])


SUBJECTS = (*SAMPLES, "inference", "training", "operator by operator", "replicas")
