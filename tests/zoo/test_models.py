"""Whole models through the whole toolchain, onto the simulated device: two training steps, and inference, equal
PyTorch's, with the optimiser's sections (`--o3`) and with one operator per section (`--o0`)."""

from __future__ import annotations

import importlib.util
import itertools
import math

import pytest
import torch

from compiler.frontend.model_file import ModelSpec
from compiler.frontend.reference import eager_outputs
from tests.models.toolchain import adamw, compiled, distance, sgd, train_beside_torch
from tests.zoo import science, vision
from tests.zoo.entry import Entry

TOLERANCE = 2e-5
STEPS = 2

MODELS: dict[str, Entry] = {**vision.MODELS, **science.MODELS}
if importlib.util.find_spec("transformers") is not None:
    from tests.zoo import hugging_face

    MODELS |= hugging_face.MODELS

TRAINED = {("gpt2", "o3"), ("resnet", "o3"), ("unet2d", "o3"), ("cosine", "o0"), ("fourier", "o3")}
INFERRED = {("falcon", "o3"), ("vit", "o0"), ("lstm", "o3"), ("autoencoder", "o0"), ("multitask", "o0")}


def cases(sample: set[tuple[str, str]]) -> list[object]:
    """Every model at both levels; outside the sample they are for the full run."""
    found = []
    for name, level in itertools.product(MODELS, ("o3", "o0")):
        found.append(pytest.param(name, level, marks=[] if (name, level) in sample else [pytest.mark.full]))
    return found


def spec(name: str, training: bool) -> ModelSpec:
    """The model with its inputs, the same every time; recurrent ones learn by AdamW."""
    torch.manual_seed(7)
    model, inputs = MODELS[name].make()
    optimizer = adamw if name in ("lstm", "gru") else sgd
    return ModelSpec(model, inputs, optimizer=optimizer(model.parameters()) if training else None, name=name)


@pytest.mark.parametrize(("name", "level"), cases(TRAINED))
def test_training_equals_pytorch(name: str, level: str) -> None:
    subject = spec(name, training=True)
    result = compiled(subject, fuse=level == "o3")
    worst = train_beside_torch(subject, result, STEPS)
    assert {tensor: error for tensor, error in worst.items() if error > TOLERANCE} == {}
    loops = [phase.loops for configuration in result.pef.configurations for phase in configuration.phases]
    assert max(map(math.prod, loops)) > 1


@pytest.mark.parametrize(("name", "level"), cases(INFERRED))
def test_inference_equals_pytorch(name: str, level: str) -> None:
    subject = spec(name, training=False)
    result = compiled(subject, inference=True, fuse=level == "o3")
    session = result.session()
    session.run()
    expected = eager_outputs(subject, result.program)
    assert expected
    errors = {tensor: distance(session.read(tensor), array) for tensor, array in expected.items()}
    assert {tensor: error for tensor, error in errors.items() if error > TOLERANCE} == {}
