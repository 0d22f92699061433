"""Changed PEFs under a valid hash: no traceback, no hang, no number that the PEF does not explain."""

from __future__ import annotations

import copy
import random
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutants.judge import judge
from tests.mutants.structure import mutate
from tests.mutants.subjects import SUBJECTS, subject

FEW, MANY = 12, 1250
"""Of each subject: in every run of the tests, and in the exhaustive one, 10,000 in all."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("subjects")


def fates(name: str, folder: Path, path: Path, seeds: range) -> Counter[str]:
    """What became of one changed copy per seed. All that must not have happened is told at once."""
    original = subject(name, folder)
    usual = original.numbers(original.pef)
    found: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        pick = random.Random(f"{name} {seed}")
        pef = copy.deepcopy(original.pef)
        changes = [mutate(pef, pick) for _ in range(pick.choice([1, 1, 1, 2, 3]))]
        try:
            found[judge(original, pef, changes, path, usual)] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"seed {seed}: {', '.join(map(str, changes))}: {type(error).__name__}: {error}")
            traceback.print_exc()
            print(wrong[-1], flush=True)
    assert not wrong, f"{len(wrong)} of {len(seeds)}:\n" + "\n".join(wrong)
    return found


@pytest.mark.parametrize("name", SUBJECTS)
def test_some_changes_to_a_pef(name: str, folder: Path, tmp_path: Path) -> None:
    assert sum(fates(name, folder, tmp_path / "mutant.pef", range(FEW)).values()) == FEW


@pytest.mark.full
@pytest.mark.parametrize("name", SUBJECTS)
def test_many_changes_to_a_pef(
    name: str, folder: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = fates(name, folder, tmp_path / "mutant.pef", range(FEW, FEW + MANY))
    assert found["refused"] and found["same"]
    record_property(name, dict(found))
