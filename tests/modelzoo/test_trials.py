"""Tiny configurations train as PyTorch does, loss by loss, and reach the quality that their entry states."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelzoo.catalogue import NAMES, find
from modelzoo.trial import OTHER_SEEDS, PROMISE, quality_from_seed, try_tiny

ALWAYS = ("uno",)
"""Trained in every test run, the quickest; the others in the full one. `test_catalogue` trains BraggNN for an epoch."""


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.full) for name in NAMES]
)
def test_a_tiny_configuration_learns(name: str, tmp_path: Path) -> None:
    entry = find(name)
    trial = try_tiny(entry, tmp_path)
    assert trial.largest_difference < PROMISE, trial.verdict
    assert entry.recipe.quality.reached(trial.quality), entry.recipe.quality.told(trial.quality)
    assert trial.quality == pytest.approx(trial.quality_in_pytorch, rel=1e-3, abs=1e-3)
    assert trial.last_loss < trial.first_loss


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_not_tuned_to_one_seed(name: str) -> None:
    entry = find(name)
    for seed in OTHER_SEEDS:
        quality = quality_from_seed(entry, seed)
        assert entry.recipe.quality.reached(quality), f"seed {seed}: {entry.recipe.quality.told(quality)}"
