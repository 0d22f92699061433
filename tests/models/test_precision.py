"""bf16 through the whole toolchain: beside a reference that rounds at the same points, and beside PyTorch's own bf16.

PyTorch rounds elsewhere (after every operator it has, which are not the device's), so the comparison with it is of
errors: the toolchain's distance from float32 must be like that of PyTorch's bf16 from its float32.
"""

from __future__ import annotations

import copy
import math
from functools import cache

import numpy as np
import pytest
import torch

from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.reference import call
from compiler.passes.precision import round_values
from ir import interpreter
from ir.graph import SymbolKind
from ir.op import Array
from ir.types import DType
from runtime.timing import simulate
from tests.models.toolchain import MODELS, Compiled, compiled, distance, sgd, spec

PRESETS = ("mp1", "mp4")
STEPS = 3
ULP = 2.0**-8
"""Distance of neighbouring bf16 numbers, relative."""
TIGHT = 2e-4
"""Relative distance of numbers that were rounded alike: sums in float32 differ in order."""
FEW = 0.1
"""Share of the numbers of a tensor that may be rounded to the other neighbour, where a sum is close to the middle."""
COMPARED = (SymbolKind.OUTPUT, SymbolKind.GRADIENT, SymbolKind.PARAMETER, SymbolKind.STATE)


@cache
def subject(model: str, preset: str) -> tuple[ModelSpec, Compiled]:
    described = spec(model, "sgd")
    return described, compiled(described, preset=preset)


def inputs_of(described: ModelSpec, step: int) -> dict[str, torch.Tensor]:
    return {name: torch.roll(tensor, step, 0) for name, tensor in described.inputs.items()}


@cache
def trained(model: str, preset: str) -> dict[str, Array]:
    """Outputs and gradients of the last step, parameters and states after it, on the simulated RDU."""
    described, result = subject(model, preset)
    session = result.session()
    for step in range(STEPS):
        session.run(inputs={name: to_array(tensor) for name, tensor in inputs_of(described, step).items()})
    return {symbol.name: session.read(symbol.name) for symbol in result.program.symbols if symbol.kind in COMPARED}


def errors_by_graph(model: str, preset: str) -> dict[str, tuple[float, float]]:
    """What each graph stores on the simulated RDU beside the same, node by node on whole arrays: the largest share of
    its numbers that were not rounded alike, and the largest distance.

    Both sides start every graph from the same symbols. Over several graphs they could not be compared: a tile's sums
    are in another order than the whole array's (small products are the host's BLAS's, whose kernels differ by
    processor), a few results are rounded to the other neighbour, and where such a one is added to its opposite, a
    rectifier lets a gradient through that it stops on the other side.
    """
    described, result = subject(model, preset)
    program, session, symbols = result.program, result.session(), dict(result.values)
    errors: dict[str, tuple[float, float]] = {}
    for step in range(STEPS):
        inputs = {name: to_array(tensor) for name, tensor in inputs_of(described, step).items()}
        symbols.update(round_values(program, inputs))
        for graph in program.graphs:
            for symbol in program.symbols:
                if symbol.name in symbols:
                    session.write(symbol.name, symbols[symbol.name])
            session.run([graph.kind.value])
            stored = interpreter.run(graph, symbols)
            for name, array in stored.items():
                actual, before = session.read(name), errors.get(name, (0.0, 0.0))
                errors[name] = max(before[0], apart(actual, array)), max(before[1], distance(actual, array))
            symbols.update(stored)
    return errors


def apart(actual: Array, expected: Array) -> float:
    """The share of numbers that differ by more than float32 sums in another order do."""
    noise = 1e-5 * float(np.abs(expected).max(initial=0.0))
    return float(np.mean(np.abs(actual - expected) > TIGHT * np.abs(expected) + noise))


@cache
def in_torch(model: str, narrow: bool) -> dict[str, Array]:
    """The same in PyTorch: float32, or a model, inputs and optimizer all in bf16."""
    described, result = subject(model, "mp4")
    module = copy.deepcopy(described.model)
    if narrow:
        module = module.bfloat16()
    optimizer = sgd(module.parameters())
    names = [symbol.name for symbol in result.program.symbols if symbol.kind is SymbolKind.OUTPUT]
    found: dict[str, Array] = {}
    for step in range(STEPS):
        inputs = inputs_of(described, step)
        if narrow:
            inputs = {n: tensor.bfloat16() if tensor.is_floating_point() else tensor for n, tensor in inputs.items()}
        optimizer.zero_grad()
        outputs = call(described, module, **inputs)
        outputs[0].backward()
        found.update((name, tensor.detach().float().numpy()) for name, tensor in zip(names, outputs, strict=True))
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            found[f"{name}.grad"] = parameter.grad.float().numpy().copy()
        optimizer.step()
    found.update((name, p.detach().float().numpy().copy()) for name, p in module.named_parameters())
    return found


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_equals_the_reference_that_rounds_at_the_same_points(model: str, preset: str) -> None:
    errors = errors_by_graph(model, preset)
    kinds = {symbol.kind for symbol in subject(model, preset)[1].program.symbols if symbol.name in errors}
    assert kinds >= {SymbolKind.OUTPUT, SymbolKind.GRADIENT, SymbolKind.PARAMETER, SymbolKind.STATE}
    assert {name: error for name, error in errors.items() if not (error[0] <= FEW and error[1] <= ULP / 2)} == {}


@pytest.mark.parametrize("model", MODELS)
def test_rounding_happens(model: str) -> None:
    """Otherwise the other tests compare float32 with float32."""
    plain = in_torch(model, narrow=False)
    for preset in PRESETS:
        errors = [distance(trained(model, preset)[name], plain[name]) for name in plain if name.endswith(".grad")]
        assert max(errors) > ULP / 4


def beside_torch(model: str, preset: str) -> tuple[float, dict[str, float], dict[str, float]]:
    """Distances from PyTorch in float32, as multiples of those of PyTorch in bf16: their geometric mean, and each; and
    distances from PyTorch in bf16, as such multiples.

    A rectifier that turns, which depends on the order of sums and so on the processor, moves one gradient by as much as
    rounding does altogether: one tensor may be the exception, the mean hardly moves.
    """
    actual, narrow, plain = trained(model, preset), in_torch(model, narrow=True), in_torch(model, narrow=False)
    unit = {name: max(distance(narrow[name], plain[name]), ULP) for name in plain}
    ratios = {name: distance(actual[name], plain[name]) / unit[name] for name in plain}
    mean = math.exp(sum(math.log(max(ratio, ULP)) for ratio in ratios.values()) / len(ratios))
    return mean, ratios, {name: distance(actual[name], narrow[name]) / unit[name] for name in plain}


@pytest.mark.parametrize("model", MODELS)
def test_all_bf16_is_as_precise_as_pytorchs_bf16(model: str) -> None:
    mean, from_float, from_bf16 = beside_torch(model, "mp4")
    assert mean <= 1.2
    assert sorted(from_float.values())[-2] <= 2 and max(from_float.values()) <= 2.5
    assert {name: ratio for name, ratio in from_bf16.items() if not ratio <= 2} == {}


@pytest.mark.parametrize("model", MODELS)
def test_bf16_products_alone_are_more_precise_than_pytorchs_bf16(model: str) -> None:
    mean, from_float, _ = beside_torch(model, "mp1")
    assert mean <= 0.95
    assert sorted(from_float.values())[-2] <= 1 and max(from_float.values()) <= 1.25


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_outputs_are_within_bf16_of_pytorch(model: str, preset: str) -> None:
    """Outputs and loss, absolutely: within a few ulps of PyTorch's float32 and bf16."""
    _, result = subject(model, preset)
    for name in (symbol.name for symbol in result.program.symbols if symbol.kind is SymbolKind.OUTPUT):
        for narrow in (False, True):
            assert distance(trained(model, preset)[name], in_torch(model, narrow)[name]) < 4 * ULP, name


@pytest.mark.parametrize("model", MODELS)
def test_values_of_an_all_bf16_model_are_bf16(model: str) -> None:
    _, result = subject(model, "mp4")
    for symbol in result.program.symbols:
        if symbol.kind in (SymbolKind.PARAMETER, SymbolKind.GRADIENT, SymbolKind.OUTPUT, SymbolKind.ACTIVATION):
            assert symbol.type.dtype is not DType.F32, symbol


@pytest.mark.parametrize("model", ["res_ffn", "lenet", pytest.param("transformer", marks=pytest.mark.full)])
def test_bf16_halves_the_traffic_to_memory(model: str) -> None:
    wide, narrow = (moved(subject(model, preset)[1]) for preset in ("mp0", "mp4"))
    assert 0.45 < narrow / wide < 0.56


def moved(result: Compiled) -> int:
    """Bytes of a whole step to and from device memory, as simulated."""
    sections = simulate(result.pef).sections
    return sum(sum((*s.execution.read_bytes, *s.execution.write_bytes)) for s in sections)
