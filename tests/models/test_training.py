"""Training through the whole toolchain equals PyTorch: every output, gradient and parameter, after every step."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from backends.rdu.fuse.groups import fuse_by_rules
from backends.rdu.fuse.rules_file import read_rules
from benchmarks.models import CASES, make, sgd
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from tests.backends.machines import small_machine
from tests.models.toolchain import MODELS, OPTIMIZERS, Compiled, compiled, spec, standard, train_beside_torch

TOLERANCE = 1e-5
STEPS = 3
SAMPLE = {("res_ffn", "sgd", "o3", "sn30"), ("res_ffn", "adamw", "o0", "sn40l"), ("lenet", "adamw", "o3", "sn10")}
SAMPLE |= {
    ("lenet", "sgd", "o0", "sn30"),
    ("transformer", "sgd", "o3", "sn40l"),
    ("transformer", "adamw", "o3", "sn30"),
    ("transformer", "adamw", "o1", "sn30"),
}
EVERYTHING = itertools.product(MODELS, OPTIMIZERS, ("o3", "o1", "o0"), ("sn10", "sn30", "sn40l"))


def at_level(subject: ModelSpec, level: str, arch: str = "sn30") -> Compiled:
    """A model compiled with sections as o0, o1 or o3 choose them."""
    rules = read_rules() if level == "o1" else None
    return compiled(subject, arch=arch, fuse=level == "o3", rules=rules)


@pytest.mark.parametrize(
    ("model", "optimizer", "level", "arch"),
    [pytest.param(*case, marks=() if case in SAMPLE else pytest.mark.full) for case in EVERYTHING],
)
def test_training_equals_pytorch(model: str, optimizer: str, level: str, arch: str) -> None:
    if (level, arch) == ("o3", "sn30"):
        subject, result = standard(model, optimizer)
    else:
        subject = spec(model, optimizer)
        result = at_level(subject, level, arch)
    worst = train_beside_torch(subject, result, STEPS)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


@pytest.mark.parametrize(
    "model", ["res_ffn", *(pytest.param(m, marks=pytest.mark.full) for m in ("lenet", "transformer"))]
)
def test_o1_computes_what_o3_computes_in_more_time_and_less_than_o0(model: str) -> None:
    subject = spec(model, "sgd")
    cycles, losses = {}, {}
    for level in ("o0", "o1", "o3"):
        session = at_level(subject, level).session()
        inputs = {name: to_array(tensor) for name, tensor in subject.inputs.items()}
        cycles[level] = session.run_timing().cycles
        session.run(inputs=inputs)
        losses[level] = [session.run(inputs=inputs)["loss"].item() for _ in range(2)]
    assert cycles["o3"] < cycles["o1"] < cycles["o0"]
    assert losses["o1"] == pytest.approx(losses["o3"], rel=TOLERANCE)
    assert losses["o1"][1] < losses["o1"][0]


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_the_models_of_the_benchmarks_take_longest_at_o0_and_least_at_o3(name: str) -> None:
    module, inputs = make(name)
    subject = ModelSpec(module, inputs, optimizer=sgd(module.parameters()), name=name)
    o0, o1, o3 = (at_level(subject, level).session().run_timing().cycles for level in ("o0", "o1", "o3"))
    assert o3 < o1 < o0


def test_bf16_fuses_by_the_same_rules() -> None:
    """Casts between the operators of a pattern belong to what they stand between."""
    captured, rules = capture(spec("transformer"), inference=False, recompute=False).program, []
    for preset in ("mp0", "mp4"):
        program = PassManager(standard_pipeline(preset)).run(captured)
        groups = [group for graph in program.graphs for group in fuse_by_rules(graph, read_rules())]
        rules.append(Counter(group.label for group in groups))
    for found in rules:
        assert found["attention (SDPA)"] == found["attention_gradient (SDPA)"] == 2
        assert found["optimizer"] and found["loss"] == found["loss_gradient"] == 1
    assert rules[0]["gemm (SAFE_GEMM)"] == rules[1]["gemm (SAFE_GEMM)"]


def test_clipping_the_gradient_norm_equals_pytorch() -> None:
    subject = spec("res_ffn", "sgd", max_grad_norm=0.05)
    result = compiled(subject)
    assert "GRADNORM" in [section.kind for section in result.pef.sections]
    worst = train_beside_torch(subject, result, STEPS)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


def test_hyperparameters_are_read_at_run_time() -> None:
    session = standard("res_ffn", "sgd")[1].session()
    before = session.read("gemm1.weight").copy()
    session.run(hyper={"lr": 0.0})
    assert (session.read("gemm1.weight") == before).all()
    session.run(hyper={"lr": 0.1})
    assert (session.read("gemm1.weight") != before).any()


@pytest.mark.parametrize("model", ["res_ffn", "lenet", pytest.param("transformer", marks=pytest.mark.full)])
def test_a_machine_of_16_sites_trains_too(model: str) -> None:
    """PMUs for the ports of buffers are dealt out in whole ones: no more than there are."""
    subject = spec(model, "sgd")
    assert compiled(subject, arch=small_machine(5)).pef.sections
    result = compiled(subject, arch=small_machine(4))
    assert len(result.pef.sections) > 4
    worst = train_beside_torch(subject, result, STEPS)
    assert {name: error for name, error in worst.items() if error > TOLERANCE} == {}


def shape_of(result: Compiled) -> tuple[int, int, int]:
    """Sections, the most phases of any, and the most tiles of any phase."""
    phases = [phase for configuration in result.pef.configurations for phase in configuration.phases]
    most = max(len(configuration.phases) for configuration in result.pef.configurations)
    return len(result.pef.sections), most, max(math.prod(phase.loops) for phase in phases)


def test_a_model_spans_sections_phases_and_tiles() -> None:
    sections, phases, tiles = shape_of(standard("transformer", "adamw")[1])
    assert sections >= 3
    assert phases >= 2
    assert tiles > 8
