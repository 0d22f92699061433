"""Small models as people write them: losses, gradients, parameters and buffers over three steps are PyTorch's, or the
model is refused by its line."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.returned import flat_tensors
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.errors import SncError
from ir.graph import SymbolKind
from ir.op import Array
from tests.frontend.reference import run
from tests.models import written_functions, written_models, written_objectives, written_programs
from tests.models.written import CASES, Case

STEPS = 3
RELATIVE, ABSOLUTE = 1e-4, 1e-6
MARGIN = 16
"""How many times as far as PyTorch's float32 result ours may be from the result in float64."""
NARROW = 2.0**-7
"""Relative distance of what bf16 rounds elsewhere, which the device does between other operators than PyTorch."""
FILE = Path(written_functions.__file__)

REFUSED = {
    "segment_by_bincount": "the size of what aten.bincount returns depends on the values",
    "gru_packed": "the size of what aten._pack_padded_sequence returns depends on the values",
    "lstm_packed_unsorted": "the size of what aten._pack_padded_sequence returns depends on the values",
    "linear_algebra": "operator aten.linalg_cholesky_ex is not supported",
    "batch_norm_cumulative": "momentum=None reads how many batches",
    "orthogonal": "operator aten.linalg_matrix_exp is not supported",
    "orthogonal_cayley": "operator aten._linalg_solve_ex is not supported",
    "half_module": "parameters a.weight, a.bias are float16",
    "double_module": "parameters a.weight, a.bias are float64",
    "fake_quantised": "control flow depends on the values of a tensor",
    "sparse_product": "a constant is sparse",
    "glow_step": "operator aten._linalg_slogdet is not supported",
    "jacobian": "is not supported",
    **{
        f"optimizer_{name}": "is not supported"
        for name in (
            "dampening", "nadam", "adamax", "rprop", "lbfgs", "differentiable",
        )
    },
}  # fmt: skip
"""What the device does not compute, and what is said of it."""
IN_BF16 = ("bf16_module", "autocast_region", "autocast_products")
TRAINED = sorted(set(CASES) - set(REFUSED))
SAMPLE = random.Random(31).sample(TRAINED, 12)
"""Those for every run of the tests."""


def test_all_files_are_seen() -> None:
    assert {written_functions.topk_gradient, written_models.ppo, written_objectives.crf, written_programs.mingpt} <= {
        case.body for case in CASES.values()
    }
    assert set(REFUSED) | set(IN_BF16) <= set(CASES)


def spec_of(case: Case) -> ModelSpec:
    model, x, optimizer = case.made()
    return ModelSpec(model, {"x": x}, optimizer, file=FILE)


def in_torch(case: Case, dtype: torch.dtype = torch.float32) -> list[dict[str, Tensor]]:
    """Outputs by their positions, gradients, parameters and buffers of each step in PyTorch."""
    model, x, optimizer = case.made()
    if dtype is torch.float64:
        model, x = model.double(), x.double() if x.is_floating_point() else x
        optimizer = case.optimizer(model)
    steps = []
    for _ in range(STEPS):
        model.zero_grad()
        outputs = flat_tensors(model(x))
        outputs[0].backward()
        found = {f"#{i}": output.detach().clone() for i, output in enumerate(outputs)}
        gradients = {f"{name}.grad": p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.update((name, gradient.detach().clone()) for name, gradient in gradients.items())
        optimizer.step()
        held = (*model.named_parameters(), *model.named_buffers())
        steps.append({**found, **{name: tensor.detach().clone() for name, tensor in held}})
    return steps


def check_case(name: str) -> None:
    case = CASES[name]
    captured = capture(spec_of(case), inference=False)
    program, symbols = PassManager(standard_pipeline("mp0")).run(captured.program), dict(captured.values)
    outputs = [symbol.name for symbol in program.symbols if symbol.kind is SymbolKind.OUTPUT]
    made = {symbol.name for symbol in program.symbols if symbol.kind is SymbolKind.GRADIENT}
    exact: list[dict[str, Tensor]] = []
    for number, expected in enumerate(in_torch(case)):
        run(program.graphs, symbols)
        assert made == {key for key in expected if key.endswith(".grad")}
        for key, tensor in expected.items():
            own = outputs[int(key[1:])] if key.startswith("#") else key
            array = to_array(tensor)
            if own not in symbols or close(symbols[own], array, name in IN_BF16):
                continue
            exact = exact or in_torch(case, torch.float64)
            gaps = [
                np.abs(values - exact[number][key].numpy()).max(initial=0)
                for values in (symbols[own].astype(np.float64), array)
            ]
            assert gaps[0] <= MARGIN * gaps[1] + ABSOLUTE, f"{own} in step {number}: {symbols[own]}, not {array}"


def close(actual: Array, expected: Array, is_narrow: bool) -> bool:
    scale = float(np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(initial=0))
    relative, of_largest = (NARROW, NARROW) if is_narrow else (RELATIVE, 1e-5)
    return bool(np.allclose(actual, expected, relative, ABSOLUTE + of_largest * scale, equal_nan=True))


@pytest.mark.parametrize("name", SAMPLE)
def test_training_equals_pytorch(name: str) -> None:
    check_case(name)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(set(TRAINED) - set(SAMPLE)))
def test_more_training_equals_pytorch(name: str) -> None:
    check_case(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(SncError) as refusal:
        capture(spec_of(CASES[name]), inference=False)
    assert REFUSED[name] in str(refusal.value)
    assert all(problem.hint for problem in refusal.value.problems)
