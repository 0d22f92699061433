"""PyTorch's module families, forward and backward, on PyTorch's own sample inputs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.frontend.sweep import FAULTS, Result, coverage, report, run, run_all
from tests.frontend.sweep_cases import Family, families
from tests.frontend.sweep_check import Status

FAMILIES = families("modules")
SAMPLE = random.Random(11).sample(FAMILIES, 16)
"""A fixed, representative sample, for every run of the tests."""
MAPPED = random.Random(12).sample(FAMILIES, 4)
"""Those that go through the backend and the functional simulator too."""


def check_result(result: Result) -> None:
    """No fault, and something that could be compared."""
    faults = [outcome for _, outcome in result.outcomes if outcome.status in FAULTS]
    assert not faults, faults


@pytest.mark.parametrize("family", SAMPLE, ids=[family.name for family in SAMPLE])
def test_family(family: Family) -> None:
    result = run(family, most=3)
    check_result(result)
    assert result.count(Status.REFUSED) == 0


@pytest.mark.parametrize("family", MAPPED, ids=[family.name for family in MAPPED])
def test_family_on_the_simulated_device(family: Family) -> None:
    check_result(run(family, most=2, backend=True))


@pytest.mark.full
def test_every_family(record_property: Callable[[str, object], None]) -> None:
    results = list(run_all(FAMILIES, most=None, backend=False, processes=2))
    record_property("coverage", coverage(results))
    assert not sum(result.count(Status.REFUSED, *FAULTS) for result in results), report(results, verbose=False)
