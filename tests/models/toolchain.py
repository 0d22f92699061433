"""Whole models through the whole toolchain, beside PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.fuse.rules_file import Rule
from backends.rdu.machine import load_machine
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.reference import call
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from compiler.passes.precision import round_values
from compiler.update_fusion import with_fused_update
from examples.lenet import LeNet
from examples.res_ffn import ResFFNLogReg
from examples.transformer import Transformer
from ir.graph import Program, SymbolKind
from ir.op import Array
from pef import pef_pb2 as pb
from pef.check import check
from pef.decoded_pef import DecodedPef
from pef.machine import Machine
from runtime.session import Session

NOISE = 1e-4
"""A gradient element this much smaller than its tensor's largest may be rounding."""

VANISHING = 1e-6
"""A gradient this much smaller than that of the whole model is rounding: attention does not depend on the bias of its
keys."""

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3)


def adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2)


OPTIMIZERS: dict[str, Optimizer] = {"sgd": sgd, "adamw": adamw}


def _res_ffn() -> tuple[nn.Module, dict[str, Tensor]]:
    return ResFFNLogReg(64, 48, 10), {"image": torch.randn(32, 64), "label": torch.randint(10, (32,))}


def _lenet() -> tuple[nn.Module, dict[str, Tensor]]:
    return LeNet(), {"image": torch.randn(16, 1, 28, 28), "label": torch.randint(10, (16,))}


def _transformer() -> tuple[nn.Module, dict[str, Tensor]]:
    model = Transformer(vocabulary=61, length=12, width=32, heads=4, depth=2)
    return model, {"tokens": torch.randint(61, (16, 12)), "targets": torch.randint(61, (16, 12))}


MODELS = {"res_ffn": _res_ffn, "lenet": _lenet, "transformer": _transformer}


def spec(model: str, optimizer: str | None = "sgd", max_grad_norm: float | None = None) -> ModelSpec:
    """A small model with inputs and an optimizer, the same every time."""
    torch.manual_seed(7)
    module, inputs = MODELS[model]()
    update = OPTIMIZERS[optimizer](module.parameters()) if optimizer else None
    return ModelSpec(module, inputs, optimizer=update, max_grad_norm=max_grad_norm, name=model)


@dataclass
class Compiled:
    """A compiled model: its program as the backend saw it, the PEF, and the initial values of its symbols."""

    program: Program
    decoded: DecodedPef
    values: dict[str, Array]

    @property
    def pef(self) -> pb.Pef:
        """The record."""
        return self.decoded.record

    def session(self, **options: object) -> Session:
        """A session with everything bound."""
        session = Session(self.decoded, **options)  # type: ignore[arg-type]
        for name, value in self.values.items():
            session.write(name, value)
        return session


def compiled(
    model: ModelSpec,
    *,
    inference: bool = False,
    preset: str = "mp0",
    arch: str | Machine = "sn30",
    fuse: bool = True,
    rules: tuple[Rule, ...] | None = None,
    fused_update: bool = False,
) -> Compiled:
    """Capture, improve, map and check; gradients can be read unless `fused_update`."""
    captured = capture(model, inference=inference)
    program = PassManager(standard_pipeline(preset)).run(captured.program)
    if fused_update:
        program = with_fused_update(program)
    machine = load_machine(arch) if isinstance(arch, str) else arch
    pef = compile_program(program, machine, BackendOptions(fuse=fuse, rules=rules))
    decoded = check(pef)
    known = {symbol.name for symbol in program.symbols}
    values = {n: v for n, v in round_values(program, captured.values).items() if n in known}
    return Compiled(program, decoded, values)


@cache
def standard(model: str, optimizer: str) -> tuple[ModelSpec, Compiled]:
    """A small model as it is compiled where nothing else is asked for: once for all tests, which leave it as it is."""
    subject = spec(model, optimizer)
    return subject, compiled(subject)


def distance(actual: Array, expected: Array, vanishing: float = 0.0) -> float:
    """Relative distance of two tensors: |a - b| / |b| in the Euclidean norm; absolute where b is zero.

    Where |b| is below `vanishing`, both must be: their distance is to that, a tolerance of 1e-5 allows its tenth.
    """
    a, b = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    norm = float(np.linalg.norm(b))
    if norm < vanishing:
        return 1e-4 * float(np.linalg.norm(a - b)) / vanishing
    return float(np.linalg.norm(a - b)) / (norm if norm > 0 else 1.0)


def train_beside_torch(model: ModelSpec, compiled_model: Compiled, steps: int) -> dict[str, float]:
    """The largest relative distance of outputs, parameters, and gradients that have a symbol, from PyTorch's over some
    steps.

    Of a parameter, only the elements whose gradients mean something are compared: Adam divides a gradient by its own
    size, so that one that is zero but for rounding (the bias of attention's keys) moves its parameter at random.
    """
    session = compiled_model.session()
    module, optimizer = copy.deepcopy((model.model, model.optimizer))
    assert optimizer is not None
    names = [s.name for s in compiled_model.program.symbols if s.kind is SymbolKind.OUTPUT and s.name != "grad_norm"]
    worst: dict[str, float] = {}

    meaningful = {name: torch.ones_like(p, dtype=torch.bool) for name, p in module.named_parameters()}

    def compare(name: str, tensor: Tensor, vanishing: float = 0.0) -> None:
        where = meaningful[name].numpy() if name in meaningful else ...
        found = distance(session.read(name)[where], to_array(tensor)[where], vanishing)
        worst[name] = max(worst.get(name, 0.0), found)

    for step in range(steps):
        inputs = {name: torch.roll(tensor, step, 0) for name, tensor in model.inputs.items()}
        session.run(inputs={name: to_array(tensor) for name, tensor in inputs.items()})
        optimizer.zero_grad()
        outputs = call(model, module, **inputs)
        outputs[0].backward()
        for name, tensor in zip(names, outputs, strict=True):
            compare(name, tensor)
        total = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            if f"{name}.grad" in compiled_model.program.symbol:
                compare(f"{name}.grad", parameter.grad, VANISHING * float(total))
            meaningful[name] &= parameter.grad.abs() > NOISE * parameter.grad.abs().max()
            meaningful[name] &= parameter.grad.norm() > VANISHING * total
        if model.max_grad_norm is not None:
            compare("grad_norm", torch.nn.utils.clip_grad_norm_(module.parameters(), model.max_grad_norm))
        optimizer.step()
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if name in compiled_model.program.symbol:
                compare(name, tensor)
    return worst
