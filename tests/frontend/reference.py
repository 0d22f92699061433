"""Running a captured program step by step beside PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from compiler.frontend.assemble import Captured
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.reference import call, eager_outputs
from compiler.update_fusion import with_fused_update
from ir import interpreter
from ir.graph import Graph, Program, SymbolKind
from ir.op import Array

TOLERANCE = 1e-5


def run(graphs: Iterable[Graph], symbols: dict[str, Array]) -> None:
    """Run graphs one after another on the symbols in place."""
    for graph in graphs:
        symbols.update(interpreter.run(graph, symbols))


def compare_inference(spec: ModelSpec, captured: Captured) -> None:
    """Outputs of the program equal PyTorch's."""
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    expected = eager_outputs(spec, captured.program)
    assert expected
    for name, array in expected.items():
        close(symbols[name], array, name)


def compare_training(spec: ModelSpec, program: Program, values: dict[str, Array], steps: int = 3) -> None:
    """Outputs, gradients, buffers and parameters equal PyTorch's after each of some steps, on changing inputs.

    So they do, to the bit, where parameters are updated behind their gradients.
    """
    symbols = dict(values)
    fused, together = with_fused_update(program), dict(values)
    model, optimizer = _copied(spec)
    names = [s.name for s in program.symbols if s.kind is SymbolKind.OUTPUT and s.name != "grad_norm"]
    for step in range(steps):
        inputs = {name: _varied(tensor, step) for name, tensor in spec.inputs.items()}
        symbols.update({name: to_array(tensor) for name, tensor in inputs.items()})
        run(program.graphs, symbols)
        together.update({name: symbols[name] for name in inputs})
        run(fused.graphs, together)
        for symbol in fused.symbols:
            if symbol.kind is not SymbolKind.ACTIVATION:
                assert np.array_equal(together[symbol.name], symbols[symbol.name], equal_nan=True), symbol.name
        outputs = call(spec, model, **inputs)
        optimizer.zero_grad()
        outputs[0].backward()
        for name, tensor in zip(names, outputs, strict=True):
            close(symbols[name], to_array(tensor), f"{name} after step {step}")
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                close(symbols[f"{name}.grad"], to_array(parameter.grad), f"{name}.grad after step {step}")
        if spec.max_grad_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), spec.max_grad_norm)
            close(symbols["grad_norm"], to_array(norm), "grad_norm")
        optimizer.step()
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            close(symbols[name], to_array(tensor), f"{name} after step {step}")


def close(actual: Array, expected: Array, name: str) -> None:
    """Equal within the tolerance, relative to the largest finite element: sums may cancel. Gradients may be small."""
    smallest = 1e-3 if ".grad" in name else 1.0 if name.startswith("loss") else 0.1
    scale = max(float(np.abs(expected[np.isfinite(expected)]).max(initial=0)), smallest)
    assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=name)


def _copied(spec: ModelSpec) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The model and its optimizer, apart from the originals."""
    assert spec.optimizer is not None
    model, optimizer = copy.deepcopy((spec.model, spec.optimizer))
    return model, optimizer


def _varied(tensor: Tensor, step: int) -> Tensor:
    """Another input of the same kind: samples in another order, features slightly changed."""
    rolled = torch.roll(tensor, step, 0) if tensor.dim() else tensor
    return rolled * (1 + 0.1 * step) if tensor.is_floating_point() else rolled
