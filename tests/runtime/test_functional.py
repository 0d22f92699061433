"""The numbers a run gives: those of plain NumPy, whatever the threads and the grouping of tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ir.errors import IllegalPefError
from ir.op import Array
from ir.types import DType
from pef import pef_pb2 as pb
from runtime.numbers.fast import grouping
from runtime.numbers.fast.executor import FunctionalSimulator
from runtime.session import Session
from tests.pef.samples import SAMPLES
from tests.runtime import programs
from tests.runtime.programs import ROWS, bf16, rand


def given_values(session: Session) -> dict[str, Array]:
    """Random values for all that the host gives."""
    kinds = ("input", "parameter", "buffer", "hyper", "output_gradient")
    return {
        name: rand(*symbol.type.shape, seed=number)
        if symbol.type.dtype is not DType.I32
        else np.random.default_rng(number).integers(0, 40, symbol.type.shape).astype(np.int32)
        for number, (name, symbol) in enumerate(session.symbols.items())
        if symbol.kind.value in kinds
    }


def everything(session: Session) -> dict[str, Array]:
    return {name: session.read(name) for name in session.symbols}


def executed(pef: pb.Pef, **options: object) -> Session:
    session = Session(pef, **options)  # type: ignore[arg-type]
    session.load_weights(given_values(session))
    session.run()
    return session


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", SAMPLES)
def test_samples_equal_numpy(name: str, strict: bool) -> None:
    session = executed(SAMPLES[name](), strict=strict)
    for symbol, wanted in programs.expected(name, given_values(session)).items():
        np.testing.assert_allclose(session.read(symbol), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


LARGE: dict[str, Callable[[], pb.Pef]] = {
    **SAMPLES,
    "summed": lambda: programs.summed(4096, 96, 64),
    "summed_uneven": lambda: programs.summed(4032, 64, 63),
    "training": programs.training,
}


@pytest.mark.parametrize("name", LARGE)
def test_threads_do_not_change_a_bit(name: str) -> None:
    runs = [everything(executed(LARGE[name](), threads=threads)) for threads in (1, 2, 5)]
    for symbol, first in runs[0].items():
        assert all(np.array_equal(first, other[symbol]) for other in runs[1:])


SLOW, FAST = (
    replace(grouping.HOST, **dict.fromkeys(("flops_per_ns", "bytes_per_ns"), rate), cached_bytes=cached)
    for rate, cached in ((0.01, 1 << 8), (1e6, 1 << 30))
)


@pytest.mark.parametrize("host", [SLOW, FAST], ids=["slow", "fast"])
@pytest.mark.parametrize("name", LARGE)
def test_the_hosts_speed_does_not_change_a_bit(
    name: str, host: grouping.Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(executed(LARGE[name]()))
    monkeypatch.setattr(grouping, "HOST", host)
    assert all(np.array_equal(array, before[symbol]) for symbol, array in everything(executed(LARGE[name]())).items())


def test_the_hosts_speed_decides_what_runs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    for host in (SLOW, FAST):
        monkeypatch.setattr(grouping, "HOST", host)
        simulator = executed(programs.update_in_place())._simulator
        assert isinstance(simulator, FunctionalSimulator)
        steps.append(simulator.plan(0).steps)
    assert steps[0] > steps[1]


def test_joining_tiles_is_exact_without_sums() -> None:
    fast, strict = (executed(SAMPLES["residual"](), strict=strict) for strict in (False, True))
    assert np.array_equal(fast.read("y"), strict.read("y"))


def test_tiles_are_joined_into_lanes() -> None:
    simulator = executed(programs.summed(4096, 96, 64))._simulator
    assert isinstance(simulator, FunctionalSimulator)
    plan = simulator.plan(0)
    assert max(map(len, plan.parts)) > 1
    assert plan.steps < 64


def test_lanes_have_their_own_sums() -> None:
    session = Session(programs.summed(4096, 96, 64), threads=2)
    x = rand(4096, 96)
    for _ in range(2):
        y = session.run(inputs={"x": x})["y"]
        np.testing.assert_allclose(y, x.astype(np.float64).T @ x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("strict", [True, False])
def test_update_in_place(strict: bool) -> None:
    session = Session(programs.update_in_place(), strict=strict)
    w, g = rand(ROWS, 8), rand(ROWS, 8, seed=1)
    session.write("w", w)
    session.write("w.grad", g)
    for _ in range(3):
        session.run(["opt"], hyper={"lr": 0.5})
        w = w - g * np.float32(0.5)
    assert np.array_equal(session.read("w"), w)


@pytest.mark.parametrize("strict", [True, False])
def test_whole_reads_of_an_updated_symbol_see_the_old_value(strict: bool) -> None:
    session = Session(programs.square_in_place(), strict=strict)
    w = rand(ROWS, ROWS)
    session.write("w", w)
    session.run()
    np.testing.assert_allclose(session.read("w"), w @ w, rtol=1e-4, atol=1e-4)


def test_bf16_rounds_at_every_kernel_boundary() -> None:
    session = Session(programs.half_precision())
    x = rand(ROWS, 16)
    y = session.run(inputs={"x": x})["y"]
    rounded = bf16(x)
    assert np.array_equal(session.read("x"), rounded)
    assert np.array_equal(y, bf16(np.tanh(bf16(rounded + rounded))))


def test_nan_and_infinity_pass_silently(recwarn: pytest.WarningsRecorder) -> None:
    session = Session(SAMPLES["residual"]())
    x = rand(64, 32)
    x[0, 0], x[1, 1] = np.nan, np.inf
    y = session.run(inputs={"x": x})["y"]
    assert np.isnan(y[0, 0]) and np.isinf(y[1, 1]) and not recwarn.list


def test_steady_runs_take_no_memory() -> None:
    session = executed(programs.summed(4096, 96, 64))
    simulator = session._simulator
    assert isinstance(simulator, FunctionalSimulator)
    before = len(simulator._scratch._blocks), simulator.plan(0)
    session.run()
    assert before == (len(simulator._scratch._blocks), simulator.plan(0))


def test_bindings_of_other_types_are_refused() -> None:
    pef = SAMPLES["two_products"]()
    pef.sections[0].bindings[1] = 0
    with pytest.raises(IllegalPefError, match="slot 1 takes f32"):
        Session(pef)
