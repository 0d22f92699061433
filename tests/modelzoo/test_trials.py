"""Tiny configurations train as PyTorch does, loss by loss, and reach the quality that their entry states."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelzoo.catalogue import NAMES, find
from modelzoo.trial import try_tiny

ALWAYS = {"braggnn", "llama2"}
"""Trained in every test run; the others in the full one."""


DRIFTING = {"autophasenn": 1e-2, "cosmictagger": 1e-2, "rescalenet": 1e-1}
"""How far losses part from PyTorch's where it is more than 1e-4, over hundreds of steps; these have no card yet."""


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.full) for name in NAMES]
)
def test_a_tiny_configuration_learns(name: str, tmp_path: Path) -> None:
    entry = find(name)
    trial = try_tiny(entry, tmp_path)
    assert trial.largest_difference < DRIFTING.get(name, 1e-4)
    assert entry.recipe.quality.reached(trial.quality), entry.recipe.quality.told(trial.quality)
    assert trial.quality == pytest.approx(trial.quality_in_pytorch, rel=1e-3, abs=1e-3)
    assert trial.last_loss < trial.first_loss
