"""Dropout and other random numbers: the right share, the same mask backward, new ones every step, any tiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir import interpreter
from ir.graph import SymbolKind
from ir.op import Array
from pef.decoded_pef import DecodedPef
from runtime.session import Session


class Dropped(nn.Module):
    """Two dropouts of different rates, after a product."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.first = nn.Dropout(0.25)
        self.second = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x)
        return self.first(y), self.second(y)


def captured(*shape: int) -> Captured:
    torch.manual_seed(0)
    x = torch.randn(shape or (64, 32, 16), requires_grad=True)
    spec = ModelSpec(Dropped(), {"x": x}, file=Path("model.py"), every_gradient=True)
    return capture(spec, inference=False)


def steps(program: Captured, count: int, **changed: Array) -> list[dict[str, Array]]:
    """What the symbols hold after each step."""
    symbols = {**program.values, **changed}
    found = []
    for _ in range(count):
        for graph in program.program.graphs:
            symbols = {**symbols, **interpreter.run(graph, symbols)}
        found.append(symbols)
    return found


def test_share_and_scale() -> None:
    program = captured()
    (after,) = steps(program, 1)
    whole = after["x"] @ after["linear.weight"].T + after["linear.bias"]
    for name, rate in (("output", 0.25), ("output_1", 0.5)):
        kept = after[name] != 0
        assert abs(kept.mean() - (1 - rate)) < 0.01
        np.testing.assert_allclose(after[name][kept], whole[kept] / (1 - rate), rtol=1e-5, atol=1e-6)


def test_each_step_and_site_and_seed_draws_anew() -> None:
    program = captured()
    first, second = steps(program, 2)
    (other,) = steps(program, 1, **{"random.seed": np.asarray(9, np.int32)})
    masks = [first["output"], second["output"], first["output_1"], other["output"]]
    for i, one in enumerate(masks):
        for another in masks[:i]:
            assert 0.2 < ((one != 0) == (another != 0)).mean() < 0.8
    (again,) = steps(program, 1)
    np.testing.assert_array_equal(again["output"], first["output"])


def test_the_rate_is_read_at_run_time() -> None:
    program = captured()
    hypers = {symbol.name for symbol in program.program.symbols if symbol.kind is SymbolKind.HYPER}
    assert {"first.p", "second.p", "random.seed"} <= hypers
    (after,) = steps(program, 1, **{"first.p": np.asarray(0.9, np.float32)})
    kept = after["output"] != 0
    assert abs(kept.mean() - 0.1) < 0.01
    whole = after["x"] @ after["linear.weight"].T + after["linear.bias"]
    np.testing.assert_allclose(after["output"][kept], whole[kept] / np.float32(0.1), rtol=1e-4, atol=1e-5)


def test_backward_uses_the_forward_mask() -> None:
    program = captured()
    (after,) = steps(program, 1)
    share = (after["output"] != 0) / 0.75 + (after["output_1"] != 0) / 0.5
    np.testing.assert_allclose(after["x.grad"], share @ after["linear.weight"], rtol=1e-4, atol=1e-4)


class Sampled(nn.Module):
    """A sample whose gradients reach mean and deviation, and numbers drawn in other ways."""

    def forward(self, mean: Tensor, deviation: Tensor) -> tuple[Tensor, ...]:
        sample = torch.distributions.Normal(mean, deviation, validate_args=False).rsample()
        drawn = torch.empty_like(mean).normal_(-1, 0.5), torch.normal(3.0, 2.0, mean.shape), torch.normal(mean, 0.1)
        return sample.sum(), sample, *drawn


def test_normal_numbers() -> None:
    torch.manual_seed(0)
    mean, deviation = torch.randn(64, 64, requires_grad=True), (torch.rand(64, 64) + 0.5).requires_grad_()
    spec = ModelSpec(Sampled(), {"mean": mean, "deviation": deviation}, file=Path("model.py"))
    first, second = steps(capture(spec, inference=False), 2)
    names = ("output", "output_1", "output_2", "output_3")
    sample, written, sized, around = (first[name] for name in names)
    noise = (sample - first["mean"]) / first["deviation"]
    standard = (noise, (written + 1) / 0.5, (sized - 3) / 2, (around - first["mean"]) / 0.1)
    for drawn in standard:
        assert abs(drawn.mean()) < 0.1 and abs(drawn.std() - 1) < 0.05
    assert np.abs(np.corrcoef([drawn.reshape(-1) for drawn in standard]) - np.eye(4)).max() < 0.1
    assert all((first[name] != second[name]).mean() > 0.99 for name in names)
    np.testing.assert_allclose(first["mean.grad"], np.ones_like(noise))
    np.testing.assert_allclose(first["deviation.grad"], noise, rtol=1e-3, atol=1e-4)


def test_tiles_draw_what_the_whole_draws() -> None:
    source = captured(16, 8, 16)
    program = PassManager(standard_pipeline("mp0")).run(source.program)
    pef = compile_program(program, load_machine("sn30"), BackendOptions())
    assert max(phase.loops[0] for configuration in pef.configurations for phase in configuration.phases) >= 8
    known = {symbol.name for symbol in program.symbols}
    expected = steps(source, 2)
    for strict in (True, False):
        session = Session(DecodedPef(pef), strict=strict)
        for name, value in source.values.items():
            if name in known:
                session.write(name, value)
        for whole in expected:
            session.run()
            for name in ("output", "output_1", "x.grad", "linear.weight.grad"):
                np.testing.assert_allclose(session.read(name), whole[name], rtol=1e-4, atol=1e-3)
