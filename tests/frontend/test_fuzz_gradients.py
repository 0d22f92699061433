"""Random programs beside PyTorch. What fails names its seed: `python -m tests.frontend.fuzz_gradients SEED SEED+1`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from torch import Tensor

from compiler.frontend.eager import EagerRun
from compiler.frontend.joint import Placeholder
from tests.frontend.fuzz_gradients import Status, run
from tests.frontend.fuzz_programs import Program

PROGRAMS, BATCH = 500, 50


def check(seeds: range, backend: bool = False) -> Counter[Status]:
    """What came of the programs, none of which may be wrong."""
    outcomes = {seed: run(seed, backend) for seed in seeds}
    wrong = {seed: outcome.reason for seed, outcome in outcomes.items() if outcome.status is Status.WRONG}
    assert not wrong, "\n".join(f"seed {seed}: {reason}\n{Program(seed).text()}" for seed, reason in wrong.items())
    return Counter(outcome.status for outcome in outcomes.values())


def test_some_programs() -> None:
    assert check(range(12))[Status.EQUAL] > 7


def test_some_programs_on_the_simulated_device() -> None:
    assert check(range(2), backend=True)[Status.EQUAL]


@pytest.mark.full
@pytest.mark.parametrize("start", range(0, PROGRAMS, BATCH))
def test_every_program(start: int, record_property: Callable[[str, object], None]) -> None:
    found = check(range(start, start + BATCH))
    record_property("programs", {status.value: count for status, count in found.items()})
    assert found[Status.EQUAL] > BATCH // 2


@pytest.mark.full
@pytest.mark.parametrize("start", range(0, PROGRAMS, BATCH))
def test_a_portion_on_the_simulated_device(start: int) -> None:
    assert check(range(start, start + 5), backend=True)[Status.EQUAL]


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that loses the hooks of parameters makes a program with one wrong."""

    def without_hooks(run: EagerRun, argument: Tensor, source: Placeholder) -> Tensor:
        return argument.detach().requires_grad_(source.tensor.requires_grad and not run.inference)

    monkeypatch.setattr(EagerRun, "leaf", without_hooks)
    assert any(run(seed).status is Status.WRONG for seed in range(40) if "gradient * 10)" in Program(seed).text())
