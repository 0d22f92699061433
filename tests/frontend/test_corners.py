"""Values and gradients at corners, poles and ties are PyTorch's."""

from __future__ import annotations

import pytest

from tests.frontend.corners import calls
from tests.frontend.sweep import TOGETHER
from tests.frontend.sweep_check import Status, check

TOLERANCES = (1e-5, 1e-5)
QUICK = 2
"""Groups of calls of each kind for every run of the tests."""


def check_part(kind: str, start: int, end: int | None) -> None:
    chosen = calls(kind)[start:end]
    assert chosen
    for first in range(0, len(chosen), TOGETHER):
        outcomes = check(chosen[first : first + TOGETHER], TOLERANCES)
        bad = {start + first + i: outcome for i, outcome in enumerate(outcomes) if outcome.status is not Status.EQUAL}
        assert not bad


@pytest.mark.parametrize("kind", ["numbers", "tables", "images"])
def test_functions(kind: str) -> None:
    check_part(kind, 0, None)


@pytest.mark.parametrize("kind", ["interpolation", "sampling"])
def test_places_between_elements(kind: str) -> None:
    check_part(kind, 0, TOGETHER * QUICK)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["interpolation", "sampling"])
def test_more_places_between_elements(kind: str) -> None:
    check_part(kind, TOGETHER * QUICK, None)
