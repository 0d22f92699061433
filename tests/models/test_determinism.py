"""The same input gives the same PEF and the same numbers: in any process, on any number of host threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from examples.transformer import Transformer
from ir.graph import SymbolKind
from ir.op import Array
from tests.models.toolchain import MODELS, compiled, standard

ROOT = Path(__file__).parents[2]
STEPS = 3

COMPILE = """
import hashlib, sys
from tests.models.toolchain import compiled, spec
for model in sys.argv[1:]:
    pef = compiled(spec(model, "adamw")).pef
    print(model, hashlib.sha256(pef.SerializeToString(deterministic=True)).hexdigest())
"""

MODEL = """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 3))

def inputs(batch_size=16):
    return (torch.randn(batch_size, 8),)

def loss(outputs, targets):
    return nn.functional.mse_loss(outputs, targets)

def targets(batch_size=16):
    return (torch.randn(batch_size, 3),)

def optimizer(parameters):
    return torch.optim.AdamW(parameters)
"""

COMMAND = """
import sys
from compiler.cli import main
sys.argv[0] = "snc"
main()
"""


def compile_elsewhere(hash_seed: int, models: list[str]) -> dict[str, str]:
    """The digests of the models' PEFs, compiled in a process of their own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, *models], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


def after_training(model: str, **options: object) -> dict[str, Array]:
    """Everything the host can read after some steps, bit by bit as the device holds it."""
    subject, result = standard(model, "adamw")
    session = result.session(**options)
    inputs = {name: to_array(tensor) for name, tensor in subject.inputs.items()}
    for _ in range(STEPS):
        session.run(inputs=inputs)
    kinds = (SymbolKind.OUTPUT, SymbolKind.PARAMETER, SymbolKind.BUFFER, SymbolKind.STATE, SymbolKind.GRADIENT)
    return {name: session.raw(name).copy() for name in session.names(*kinds)}


@pytest.mark.parametrize("hash_seed", [4242, *(pytest.param(seed, marks=pytest.mark.full) for seed in (0, 1, 77))])
def test_another_process_writes_the_same_pefs(hash_seed: int) -> None:
    here = {
        m: hashlib.sha256(standard(m, "adamw")[1].pef.SerializeToString(deterministic=True)).hexdigest() for m in MODELS
    }
    assert compile_elsewhere(hash_seed, list(MODELS)) == here


def test_the_command_writes_the_same_files(tmp_path: Path) -> None:
    """PEF, weights and reference, byte by byte, whatever the hash seed and the folder."""
    contents = []
    (tmp_path / "small.py").write_text(MODEL)
    for hash_seed in (1, 2):
        folder = tmp_path / str(hash_seed)
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
        arguments = ["compile", str(tmp_path / "small.py"), "-o", str(folder), "--pef-name", "small"]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        contents.append({p.name: p.read_bytes() for p in (folder / "small").iterdir() if p.suffix != ".log"})
    names = {"small.pef", "small.safetensors", "small.reference.npz"}
    assert contents[0].keys() == contents[1].keys() == names
    assert {name for name in names if contents[0][name] != contents[1][name]} == set()


@pytest.mark.parametrize("model", MODELS)
def test_host_threads_change_no_bit(model: str) -> None:
    alone, together = after_training(model, threads=1), after_training(model, threads=2)
    assert alone.keys() == together.keys()
    assert {name for name in alone if alone[name].tobytes() != together[name].tobytes()} == set()


@pytest.mark.parametrize("model", MODELS)
def test_a_run_repeats_itself(model: str) -> None:
    first, second = after_training(model), after_training(model)
    assert {name for name in first if first[name].tobytes() != second[name].tobytes()} == set()


@pytest.mark.parametrize("model", MODELS)
def test_the_fast_executor_computes_what_the_strict_one_does(model: str) -> None:
    """Parameters are left out: Adam blows up what is rounding in a gradient that ought to be zero."""
    fast, strict = after_training(model), after_training(model, strict=True)
    parameters = {s.name for s in standard(model, "adamw")[1].program.symbols if s.kind is SymbolKind.PARAMETER}
    for name in fast.keys() - parameters:
        scale = max(1e-3, float(np.abs(strict[name].astype(np.float64)).max(initial=0)))
        np.testing.assert_allclose(fast[name], strict[name], rtol=0, atol=1e-4 * scale, err_msg=name)


def test_equal_layers_are_compiled_once() -> None:
    """One operator per section: four equal layers need hardly more configurations than two."""
    few, many = (compiled(_transformer(depth), inference=True, fuse=False).pef for depth in (2, 4))
    layers = [len(pef.sections) for pef in (few, many)]
    assert layers[1] > layers[0] + 20
    assert len(many.configurations) == len(few.configurations)
    assert len(many.configurations) < 0.6 * len(many.sections)


def _transformer(depth: int) -> ModelSpec:
    torch.manual_seed(0)
    model = Transformer(vocabulary=23, length=6, width=16, heads=2, depth=depth)
    tokens = torch.randint(23, (4, 6))
    return ModelSpec(model, {"tokens": tokens, "targets": tokens}, name="layers")


def test_instances_of_a_configuration_bind_their_own_weights() -> None:
    pef = compiled(_transformer(2), inference=True, fuse=False).pef
    shared = [s for s in pef.sections if [t.configuration for t in pef.sections].count(s.configuration) > 1]
    assert shared
    bound = {tuple(pef.symbols[index].name for index in section.bindings) for section in shared}
    assert len(bound) == len(shared)
