"""Real PEFs, compiled once."""

from __future__ import annotations

import pytest

from tests.honesty.subjects import Subject, training_step


@pytest.fixture(scope="session")
def step() -> Subject:
    """A training step: forward, backward and update sections, rings, accumulators, chains of PCUs."""
    return training_step()
