"""However a compiled PEF is changed, it is refused or computes the same: never other numbers, never a traceback."""

from __future__ import annotations

import random

import pytest

from ir.errors import SncError
from ir.op import Array
from pef.check import check
from runtime.timing import simulate
from tests.honesty.mutants import ANY
from tests.honesty.subjects import Subject, distance

TOLERANCE = 1e-5
MAY_BE_LEGAL = ("another_depth", "reorder_pcus", "swap_any_stages", "move_symbol", "other_bytes")


@pytest.fixture(scope="module")
def expected(step: Subject) -> dict[str, Array]:
    return step.run(step.copy())


def assert_harmless(step: Subject, expected: dict[str, Array], change: str, seeds: range) -> int:
    """Apply a change with each seed; how many of the mutants ran."""
    ran = 0
    for seed in seeds:
        mutant = step.copy()
        if ANY[change](mutant, random.Random(f"{change} {seed}")) is None:
            continue
        try:
            check(mutant)
            simulate(mutant)
            found = step.run(mutant)
        except SncError as error:
            assert error.problems and all(problem.message for problem in error.problems)
            continue
        ran += 1
        wrong = {name: distance(found[name], array) for name, array in expected.items()}
        assert {name: error for name, error in wrong.items() if not error <= TOLERANCE} == {}, f"{change} {seed}"
    return ran


@pytest.mark.parametrize("change", sorted(ANY))
def test_mutants_are_refused_or_right(step: Subject, expected: dict[str, Array], change: str) -> None:
    ran = assert_harmless(step, expected, change, range(4))
    if change in MAY_BE_LEGAL:
        assert ran, "no mutant of this kind ran: the change proves nothing"


@pytest.mark.full
@pytest.mark.parametrize("change", sorted(ANY))
def test_many_mutants_are_refused_or_right(step: Subject, expected: dict[str, Array], change: str) -> None:
    assert_harmless(step, expected, change, range(4, 120))


@pytest.mark.parametrize("seed", range(12))
def test_several_changes_at_once(step: Subject, expected: dict[str, Array], seed: int) -> None:
    """Changes that are each accepted, one on top of the other."""
    pick = random.Random(seed)
    mutant = step.copy()
    applied = 0
    for change in pick.choices(sorted(ANY), k=12):
        trial = type(mutant).FromString(mutant.SerializeToString())
        if ANY[change](trial, pick) is None:
            continue
        try:
            check(trial)
            simulate(trial)
        except SncError:
            continue
        mutant, applied = trial, applied + 1
    found = step.run(mutant)
    assert {name for name, array in expected.items() if distance(found[name], array) > TOLERANCE} == set()
