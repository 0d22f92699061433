"""PyTorch's module families, forward and backward, on PyTorch's own sample inputs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import CaptureError
from tests.frontend.sweep import FAULTS, Result, coverage, report, run
from tests.frontend.sweep_cases import Family, families
from tests.frontend.sweep_check import Outcome, Status

FAMILIES = families("modules")
SAMPLE = random.Random(11).sample(FAMILIES, 16)
"""A fixed, representative sample, for every run of the tests."""
MAPPED = random.Random(12).sample(FAMILIES, 4)
"""Those that go through the backend and the functional simulator too."""
PARTS = 8
"""Tests that all families are spread over, for several processes."""


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


REFUSED = {
    r"nn\.BatchNorm[123]d": "has no elements",
}
"""Families of which some samples are refused, and why: the device has no tensors without elements."""


def is_expected(family: Family, outcome: Outcome) -> bool:
    """Whether a refusal is one of those."""
    return any(re.fullmatch(name, family.name) and why in outcome.reason for name, why in REFUSED.items())


@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_every_family(part: int, record_property: Callable[[str, object], None]) -> None:
    results = [run(family) for family in FAMILIES[part::PARTS]]
    record_property("coverage", coverage(results))
    bad = (Status.REFUSED, *FAULTS)
    found = [(r.family, outcome) for r in results for _, outcome in r.outcomes if outcome.status in bad]
    assert all(is_expected(*each) for each in found), report(results, verbose=False)


def test_an_empty_batch_is_refused_by_its_name() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    spec = ModelSpec(model, {"input": torch.randn(0, 3)}, every_gradient=True)
    with pytest.raises(CaptureError, match=r"input input has no elements(.|\n)*give it at least one"):
        capture(spec, inference=False)


def test_a_cumulative_average_is_refused_in_training() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=None))
    spec = ModelSpec(model, {"input": torch.randn(2, 3)}, every_gradient=True)
    with pytest.raises(CaptureError, match=r"momentum=None reads how many batches(.|\n)*give it a momentum"):
        capture(spec, inference=False)
    assert capture(spec, inference=True).program.graphs
