"""Shares over an interval, from sums that a run reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.node.activity import IDLE_PERCENT, History, Sums


def history(*reports: tuple[float, float, float]) -> History:
    """Reports of (moment, time in all, execution of tile 3)."""
    made = History(0.0)
    for moment, total, spent in reports:
        made.add(moment, Sums(total, {3: (spent, 0.0, 0.0, 0.0, 0.0)}))
    return made


def test_a_session_that_reported_nothing_is_idle() -> None:
    assert History(0.0).percent(3, 10.0, 5.0) == IDLE_PERCENT


def test_only_the_interval_counts() -> None:
    made = history((1.0, 100.0, 100.0), (2.0, 200.0, 100.0), (3.0, 300.0, 150.0))
    assert made.percent(3, 3.0, 1.0)[:2] == pytest.approx((50, 50))
    assert made.percent(3, 3.0, 2.0)[:2] == pytest.approx((75, 25))
    assert made.percent(3, 3.0, 60.0)[:2] == pytest.approx((50, 50))


def test_a_tile_that_other_sections_use_is_idle() -> None:
    assert history((1.0, 100.0, 100.0)).percent(4, 1.0, 5.0) == IDLE_PERCENT


def test_a_long_step_shows_the_time_before_it() -> None:
    made = history((1.0, 100.0, 60.0), (2.0, 100.0, 60.0), (30.0, 100.0, 60.0))
    assert made.percent(3, 30.0, 5.0)[:2] == pytest.approx((40, 60))


def test_reports_of_one_moment_are_kept_once() -> None:
    made = history(*((1.0 + i / 1000, float(i + 1), 0.0) for i in range(1000)))
    assert len(made._reports) < 12


@given(st.lists(st.tuples(st.floats(0.3, 5), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1)), max_size=20),
       st.floats(0.1, 50))  # fmt: skip
def test_shares_add_up(steps: list[tuple[float, float, float, float]], seconds: float) -> None:
    made, now, total, spent, loaded = History(0.0), 0.0, 0.0, 0.0, 0.0
    for pause, time, share, part in steps:
        now, total = now + pause, total + time
        spent, loaded = spent + time * share * part, loaded + time * share * (1 - part)
        made.add(now, Sums(total, {0: (spent, loaded, 0.0, 0.0, 0.0)}))
    percent = made.percent(0, now, seconds)
    assert all(-1e-6 <= share <= 100 + 1e-6 for share in percent)
    assert sum(percent) == pytest.approx(100, abs=1e-6)
