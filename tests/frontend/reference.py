"""Running a captured program step by step beside PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from compiler.frontend.capture import Captured
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from ir import interpreter
from ir.graph import Graph, SymbolKind
from ir.op import Array

TOLERANCE = 1e-5


def outputs_of(result: object) -> list[Tensor]:
    """The tensors a model returned, in order."""
    if isinstance(result, Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for value in values for tensor in outputs_of(value)]  # type: ignore[attr-defined]


def run(graphs: Iterable[Graph], symbols: dict[str, Array]) -> None:
    """Run graphs one after another on the symbols in place."""
    for graph in graphs:
        symbols.update(interpreter.run(graph, symbols))


def compare_inference(spec: ModelSpec, captured: Captured) -> None:
    """Outputs of the program equal PyTorch's."""
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    model = copy.deepcopy(spec.model).eval()
    expected = outputs_of(model(**spec.inputs))
    names = [symbol.name for symbol in captured.program.symbols if symbol.kind is SymbolKind.OUTPUT]
    for name, tensor in zip(names, expected, strict=True):
        close(symbols[name], tensor, name)


def compare_training(spec: ModelSpec, captured: Captured, steps: int = 3) -> None:
    """Outputs, gradients, buffers and parameters equal PyTorch's after each of some steps on fresh inputs."""
    symbols = dict(captured.values)
    program = captured.program
    model, optimizer = copied(spec)
    names = [s.name for s in program.symbols if s.kind is SymbolKind.OUTPUT and s.name != "grad_norm"]
    for step in range(steps):
        inputs = {name: varied(tensor, step) for name, tensor in spec.inputs.items()}
        symbols.update({name: to_array(tensor) for name, tensor in inputs.items()})
        run(program.graphs, symbols)
        outputs = model(**inputs)
        if spec.loss is not None:
            outputs = [spec.loss(outputs, *spec.targets.values()), *outputs_of(outputs)]
        outputs = outputs_of(outputs)
        optimizer.zero_grad()
        outputs[0].backward()
        for name, tensor in zip(names, outputs, strict=True):
            close(symbols[name], tensor, f"{name} after step {step}")
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                close(symbols[f"{name}.grad"], parameter.grad, f"{name}.grad after step {step}")
        if spec.max_grad_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), spec.max_grad_norm)
            close(symbols["grad_norm"], norm, "grad_norm")
        optimizer.step()
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            close(symbols[name], tensor, f"{name} after step {step}")


def copied(spec: ModelSpec) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The model and its optimizer, apart from the originals."""
    assert spec.optimizer is not None
    model, optimizer = copy.deepcopy((spec.model, spec.optimizer))
    return model, optimizer


def varied(tensor: Tensor, step: int) -> Tensor:
    """Another input of the same kind: samples in another order, features slightly changed."""
    rolled = torch.roll(tensor, step, 0) if tensor.dim() else tensor
    return rolled * (1 + 0.1 * step) if tensor.is_floating_point() else rolled


def close(actual: Array, expected: Tensor, name: str) -> None:
    """Equal within the tolerance, relative to the largest element: sums may cancel."""
    reference = to_array(expected)
    scale = float(np.abs(reference).max()) if reference.size else 0.0
    assert_allclose(actual, reference, rtol=TOLERANCE, atol=TOLERANCE * max(scale, 1e-3), err_msg=name)
