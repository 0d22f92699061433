"""The budget of refusals: of processor time, with a burst; and who rests is heard in order, or at last."""

from __future__ import annotations

import asyncio

import pytest

from modelbox.service import pace
from modelbox.service.pace import BURST, REFUSAL_SECONDS, SHARE, Pace


class Clock:
    """Processor time and time by the clock, both set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processor = self.wall = 0.0
        monkeypatch.setattr(pace, "process_time", lambda: self.processor)
        monkeypatch.setattr(pace, "monotonic", lambda: self.wall)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_burst_is_covered_and_then_a_share_of_processor_time(clock: Clock) -> None:
    budget = Pace()
    assert [budget.covers_one() for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    clock.processor += 3.5 * REFUSAL_SECONDS / SHARE
    assert [budget.covers_one() for _ in range(4)] == [True, True, False, False]
    clock.processor += 1e9
    assert sum(budget.covers_one() for _ in range(2 * BURST)) == BURST


def test_who_rests_is_heard_in_order_as_the_budget_grows_and_at_last_anyway(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "TICK_SECONDS", 0.0)
    heard: list[int] = []

    async def rest() -> None:
        budget = Pace()
        monkeypatch.setattr(budget, "_covered", 0.0)
        for number in range(6):
            budget.rest(number, lambda number=number: heard.append(number))
        budget.forget(1)
        await asyncio.sleep(0.01)
        assert heard == []
        clock.processor += 2.5 * REFUSAL_SECONDS / SHARE
        while len(budget) > 3:
            await asyncio.sleep(0)
        assert heard == [0, 2]
        monkeypatch.setattr(budget, "_covered", 0.0)
        clock.wall += 1 + pace.LONGEST_REST_SECONDS
        while len(budget):
            await asyncio.sleep(0)
        assert heard == [0, 2, 3, 4, 5]
        budget.rest(7, lambda: heard.append(7))
        budget.wake()
        assert heard[-1] == 7 and len(budget) == 0

    asyncio.run(rest())
