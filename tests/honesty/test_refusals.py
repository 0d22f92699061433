"""A compiled PEF that is made illegal is refused by the checker, with a sentence that names the thing."""

from __future__ import annotations

import random

import pytest

from ir.errors import IllegalPefError
from pef.check import check
from runtime.session import Session
from tests.honesty.mutants import ILLEGAL
from tests.honesty.subjects import Subject

SEEDS = 5


@pytest.mark.parametrize("change", sorted(ILLEGAL))
def test_illegal_changes_are_refused_by_name(step: Subject, change: str) -> None:
    applied = 0
    for seed in range(SEEDS):
        mutant = step.copy()
        named = ILLEGAL[change](mutant, random.Random(f"{change} {seed}"))
        if named is None:
            continue
        applied += 1
        with pytest.raises(IllegalPefError, match=named) as refusal:
            check(mutant)
        assert all(problem.where and problem.message for problem in refusal.value.problems)
    assert applied


def test_a_session_refuses_what_the_checker_refuses(step: Subject) -> None:
    mutant = step.copy()
    ILLEGAL["remove_route"](mutant, random.Random(1))
    with pytest.raises(IllegalPefError, match="the route does not lead from"):
        Session(mutant)


def test_the_compilers_own_pef_is_accepted(step: Subject) -> None:
    check(step.copy())
