"""Mixtures of experts, through the frontend and the reference interpreter: a training step and inference equal
PyTorch's, however the tokens are spread. Mixtral's inference runs on the simulated device too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.reference import eager_outputs
from tests.frontend.reference import compare_inference, compare_training
from tests.models.toolchain import compiled, distance

transformers = pytest.importorskip("transformers")

from tests.zoo import experts  # noqa: E402

HERE = Path(__file__)
MODELS = experts.MODELS
ALWAYS = ("Mixtral", "GptOss")


def spec_of(name: str) -> ModelSpec:
    torch.manual_seed(7)
    model, inputs = MODELS[name].make()
    return ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.05), file=HERE, name=name.lower())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.full) for name in MODELS]
)
def test_training_and_inference_equal_pytorch(name: str) -> None:
    spec = spec_of(name)
    captured = capture(spec, inference=False)
    operators = {node.op.name for graph in captured.program.graphs for node in graph.nodes}
    assert {"grouped_matmul", "grouped_outer"} <= operators
    compare_training(spec, captured.program, captured.values, steps=1)
    spec.model.eval()
    compare_inference(spec, capture(spec, inference=True))


def test_on_the_simulated_device() -> None:
    spec = spec_of("Mixtral")
    result = compiled(spec, inference=True)
    session = result.session()
    session.run()
    spec.model.eval()
    for name, array in eager_outputs(spec, result.program).items():
        assert distance(session.read(name), array) < 2e-5


def test_all_tokens_may_go_to_one_expert() -> None:
    """The work is planned for an even spread, the numbers are right for any."""
    spec = spec_of("Mixtral")
    with torch.no_grad():
        for layer in spec.model.model.layers:
            layer.mlp.gate.weight.zero_()
            layer.mlp.gate.weight[2:] -= 1e3
    spec.model.eval()
    captured = capture(spec, inference=True)
    compare_inference(spec, captured)
    assert np.isfinite(captured.values["model.embed_tokens.weight"]).all()
