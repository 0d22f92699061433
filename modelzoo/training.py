"""Training a configuration on the simulated RDU, and the same in PyTorch: same weights, same batches, same order."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compiler.driver import CompileRequest, CompileResult, compile_spec
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.precise import Float64
from compiler.frontend.reference import call
from ir.errors import Problem, UsageError
from ir.graph import SymbolKind
from ir.op import Array
from modelzoo.device import open_pef
from modelzoo.entry import Arrays, Entry
from runtime.session import WEIGHTS, Session
from runtime.snrun.train import loss_name

Compile = Callable[[ModelSpec, CompileRequest], CompileResult]
"""`compile_spec`, or the same with someone looking on."""


@dataclass(frozen=True)
class Step:
    """One step of training: its number from 1, and the loss."""

    number: int
    loss: float


def batches(data: Arrays, batch: int, epochs: int, seed: int) -> Iterator[dict[str, Array]]:
    """Shuffled whole batches; what fills no batch is left out of an epoch. Raises UsageError for too little data."""
    count = len(next(iter(data.values())))
    if count < batch:
        raise UsageError(
            Problem(f"{count} samples do not fill a batch of {batch}", hint=f"use a batch of {count} or less")
        )
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(count)
        for start in range(0, count - batch + 1, batch):
            yield {name: array[order[start : start + batch]] for name, array in data.items()}


def train_on_device(session: Session, data: Iterator[dict[str, Array]]) -> Iterator[Step]:
    """A step for each batch."""
    loss = loss_name(session)
    for number, batch in enumerate(data, 1):
        yield Step(number, float(session.run(inputs=batch)[loss]))


def train_in_pytorch(
    spec: ModelSpec, data: Iterator[dict[str, Array]], *, precise: bool = False
) -> tuple[list[float], nn.Module]:
    """The same on a copy of the model and its optimizer; `precise`: in float64. The losses, and the trained copy."""
    model, optimizer = copy.deepcopy((spec.model, spec.optimizer))
    assert isinstance(optimizer, torch.optim.Optimizer)
    if precise:
        model.double()
    losses = []
    for batch in data:
        tensors = {name: like(array, spec, name) for name, array in batch.items()}
        given = replace(spec, targets={name: tensors.pop(name) for name in spec.targets})
        optimizer.zero_grad()
        with Float64() if precise else nullcontext():
            loss = call(given, model, **tensors)[0]
            loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, model


def like(array: Array, spec: ModelSpec, name: str) -> torch.Tensor:
    """An array as a tensor of the element type that the model takes under this name."""
    return torch.from_numpy(array).to({**spec.inputs, **spec.targets}[name].dtype)


def quality_on_device(
    entry: Entry,
    trained: Session,
    test: Arrays,
    folder: Path,
    *,
    batch: int,
    length: int | None,
    arch: str,
    compile: Compile = compile_spec,
) -> float:
    """The quality of the trained weights in an inference PEF of the tiny configuration."""
    spec = entry.spec("tiny", training=False, batch=batch, length=length)
    request = CompileRequest(entry.name, True, batch, folder, f"{spec.name}_inference", arch)
    session = open_pef(compile(spec, request).pef_path)
    session.load_weights({n: trained.read(n) for n in trained.names(*WEIGHTS) if n in session.symbols}, strict=False)
    return entry.recipe.quality.measure(infer(session, test, batch), test)


def infer(session: Session, test: Arrays, batch: int) -> dict[str, Array]:
    """The outputs for all samples, batch by batch; the last batch is filled up with the first samples."""
    inputs = session.names(SymbolKind.INPUT)
    count = len(next(iter(test.values())))
    order = np.resize(np.arange(count), -(-count // batch) * batch).reshape(-1, batch)
    results = [session.run(inputs={name: test[name][part] for name in inputs}) for part in order]
    return {name: np.concatenate([result[name] for result in results])[:count] for name in results[0]}


def quality_of_weights(entry: Entry, spec: ModelSpec, weights: Session, test: Arrays) -> float:
    """The quality of a session's weights in PyTorch."""
    model = copy.deepcopy(spec.model)
    names = {*dict(model.named_parameters()), *dict(model.named_buffers())} & set(weights.symbols)
    model.load_state_dict({name: torch.from_numpy(weights.read(name)) for name in names}, strict=False)
    return quality_in_pytorch(entry, spec, model, test)


def quality_in_pytorch(entry: Entry, spec: ModelSpec, model: nn.Module, test: Arrays) -> float:
    """The quality of a trained model in PyTorch; `spec` is that of inference."""
    tensors = {name: like(test[name], spec, name) for name in spec.inputs}
    with torch.no_grad():
        outputs = call(spec, model.eval(), **tensors)
    return entry.recipe.quality.measure({"output": to_array(outputs[0])}, test)
