"""PyTorch's operators, forward and backward, on PyTorch's own sample inputs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.frontend.sweep import FAULTS, Record, coverage, report, run
from tests.frontend.sweep_cases import Family, families
from tests.frontend.sweep_check import Status
from tests.frontend.test_module_db import check_result

FAMILIES = families("ops")
SAMPLE = random.Random(21).sample(FAMILIES, 24)
"""A fixed, representative sample, for every run of the tests."""
MAPPED = random.Random(22).sample([family for family in FAMILIES if family.dtype is torch.float32], 6)
"""Those that go through the backend and the functional simulator too."""
PARTS = 16
"""Tests that all families are spread over, for several processes; each takes minutes."""


def name(family: Family) -> str:
    return f"{family.name}-{str(family.dtype).removeprefix('torch.')}"


@pytest.mark.parametrize("family", SAMPLE, ids=map(name, SAMPLE))
def test_operator(family: Family) -> None:
    check_result(run(family, most=3))


@pytest.mark.parametrize("family", MAPPED, ids=map(name, MAPPED))
def test_operator_on_the_simulated_device(family: Family) -> None:
    check_result(run(family, most=2, backend=True))


def test_a_sweep_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    record = Record(tmp_path / "record", most=2, backend=False)
    assert record.read(FAMILIES) == {}
    results = {family: run(family, most=2) for family in FAMILIES[:2]}
    for result in results.values():
        record.add(result)
    assert record.read(FAMILIES) == results
    assert Record(tmp_path / "record", most=3, backend=False).read(FAMILIES) == {}


@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_every_operator(part: int, record_property: Callable[[str, object], None]) -> None:
    results = [run(family, most=12) for family in FAMILIES[part::PARTS]]
    record_property("coverage", coverage(results))
    assert not sum(result.count(Status.REFUSED, *FAULTS) for result in results), report(results, verbose=False)
