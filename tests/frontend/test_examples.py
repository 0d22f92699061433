"""The examples train and infer as in PyTorch, captured and after the standard passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec, load_model
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.graph import SectionKind
from ir.text import parse_program, print_program
from tests.frontend.reference import compare_inference, compare_training

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = ("res_ffn.py", "lenet.py", "transformer.py:tiny")


def adamw(parameters: object) -> torch.optim.Optimizer:
    """AdamW whose epsilon is above the noise of gradients that are zero but for rounding."""
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1, eps=1e-4)  # type: ignore[arg-type]


def sgd(parameters: object) -> torch.optim.Optimizer:
    """SGD with all it has."""
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True)  # type: ignore[arg-type]


def load(model: str, optimizer: Callable[[object], torch.optim.Optimizer] = sgd) -> ModelSpec:
    """An example with a small batch and another optimizer."""
    spec = load_model(str(EXAMPLES / model), 4)
    return replace(spec, optimizer=optimizer(spec.model.parameters()))


@pytest.mark.parametrize("model", MODELS)
def test_inference(model: str) -> None:
    spec = load(model)
    captured = capture(spec, inference=True)
    assert [graph.kind for graph in captured.program.graphs] == [SectionKind.FWD]
    assert spec.model.training
    compare_inference(spec, captured)


@pytest.mark.parametrize("optimizer", [sgd, adamw])
@pytest.mark.parametrize("model", MODELS)
def test_training(model: str, optimizer: Callable[[object], torch.optim.Optimizer]) -> None:
    spec = load(model, optimizer)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values)
    improved = PassManager(standard_pipeline("mp0")).run(captured.program)
    assert sum(len(g.nodes) for g in improved.graphs) < sum(len(g.nodes) for g in captured.program.graphs)
    compare_training(spec, improved, captured.values)


@pytest.mark.parametrize("model", MODELS)
def test_capture_is_deterministic_and_prints(model: str) -> None:
    first, second = (print_program(capture(load(model), inference=False).program) for _ in range(2))
    assert first == second
    assert print_program(parse_program(first)) == first


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_clipping(max_norm: float) -> None:
    spec = replace(load("res_ffn.py"), max_grad_norm=max_norm)
    captured = capture(spec, inference=False)
    kinds = [graph.kind for graph in captured.program.graphs]
    assert kinds == [SectionKind.FWD, SectionKind.BCKWD, SectionKind.GRADNORM, SectionKind.OPT]
    compare_training(spec, captured.program, captured.values)


def test_hyper_parameters_are_read_at_run_time() -> None:
    spec = load("res_ffn.py")
    captured = capture(spec, inference=False)
    assert spec.optimizer is not None
    spec.optimizer.param_groups[0].update(lr=0.002, momentum=0.5, weight_decay=0.3)
    values = {name: array.copy() for name, array in captured.values.items()}
    for name, value in {"lr": 0.002, "momentum": 0.5, "weight_decay": 0.3}.items():
        values[name][...] = value
    compare_training(spec, captured.program, values)
