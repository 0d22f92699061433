"""Training through the whole toolchain equals PyTorch: every output, gradient and parameter, after every step."""

from __future__ import annotations

import itertools

import pytest

from tests.backends.machines import small_machine
from tests.models.toolchain import MODELS, OPTIMIZERS, Compiled, compiled, spec, train_beside_torch

TOLERANCE = 1e-5
STEPS = 3
SAMPLE = {("res_ffn", "sgd", "o3", "sn30"), ("res_ffn", "adamw", "o0", "sn40l"), ("lenet", "adamw", "o3", "sn10")}
SAMPLE |= {
    ("lenet", "sgd", "o0", "sn30"),
    ("transformer", "sgd", "o3", "sn40l"),
    ("transformer", "adamw", "o3", "sn30"),
}
EVERYTHING = itertools.product(MODELS, OPTIMIZERS, ("o3", "o0"), ("sn10", "sn30", "sn40l"))


@pytest.mark.parametrize(
    ("model", "optimizer", "level", "arch"),
    [pytest.param(*case, marks=() if case in SAMPLE else pytest.mark.full) for case in EVERYTHING],
)
def test_training_equals_pytorch(model: str, optimizer: str, level: str, arch: str) -> None:
    subject = spec(model, optimizer)
    worst = train_beside_torch(subject, compiled(subject, arch=arch, fuse=level == "o3"), STEPS)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


def test_clipping_the_gradient_norm_equals_pytorch() -> None:
    subject = spec("res_ffn", "sgd", max_grad_norm=0.05)
    result = compiled(subject)
    assert "GRADNORM" in [section.kind for section in result.pef.sections]
    worst = train_beside_torch(subject, result, STEPS)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


def test_hyperparameters_are_read_at_run_time() -> None:
    result = compiled(spec("res_ffn", "sgd"))
    session = result.session()
    before = session.read("gemm1.weight").copy()
    session.run(hyper={"lr": 0.0})
    assert (session.read("gemm1.weight") == before).all()
    session.run(hyper={"lr": 0.1})
    assert (session.read("gemm1.weight") != before).any()


@pytest.mark.parametrize("model", MODELS)
def test_a_machine_of_64_sites_trains_too(model: str) -> None:
    subject = spec(model, "sgd")
    result = compiled(subject, arch=small_machine(8))
    assert len(result.pef.sections) > 4
    worst = train_beside_torch(subject, result, STEPS)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


def shape_of(result: Compiled) -> tuple[int, int, int]:
    """Sections, the most phases of any, and the most tiles of any phase."""
    phases = [phase for configuration in result.pef.configurations for phase in configuration.phases]
    most = max(len(configuration.phases) for configuration in result.pef.configurations)
    return len(result.pef.sections), most, max(phase.tiles for phase in phases)


def test_a_model_spans_sections_phases_and_tiles() -> None:
    sections, phases, tiles = shape_of(compiled(spec("transformer", "adamw")))
    assert sections >= 3
    assert phases >= 2
    assert tiles > 8
