"""The budget of refusals: of processor time, with a burst; and those that are held are told in order, or at last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

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
    budget = Pace(lambda: False)
    assert [budget.covers_one() for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    clock.processor += 3.5 * REFUSAL_SECONDS / SHARE
    assert [budget.covers_one() for _ in range(4)] == [True, True, True, False]
    clock.processor += 1e9
    assert sum(budget.covers_one() for _ in range(2 * BURST)) == BURST


def test_held_refusals_are_told_in_order_as_the_budget_grows_and_at_last_anyway(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "TICK_SECONDS", 0.0)
    told: list[int] = []
    heard: list[int] = []

    def tell(number: int) -> Callable[[], None]:
        told.append(number)
        return lambda: heard.append(number)

    async def hold() -> None:
        budget = Pace(lambda: False)
        monkeypatch.setattr(budget, "_covered", 0.0)
        for number in range(6):
            budget.hold(number, partial(tell, number))
        budget.forget(1)
        await asyncio.sleep(0.01)
        assert told == []
        clock.processor += 2.5 * REFUSAL_SECONDS / SHARE
        while len(budget) > 3:
            await asyncio.sleep(0)
        assert told == [0, 2] and heard == []
        while heard != [0, 2]:  # a moment later
            await asyncio.sleep(0)
        clock.wall += 1 + pace.LONGEST_HOLD_SECONDS
        while len(budget):
            await asyncio.sleep(0)
        assert told == [0, 2, 3, 4, 5]
        budget.hold(7, partial(tell, 7))
        assert not budget.covers_one()
        budget.end()
        assert told[-1] == heard[-1] == 7 and len(budget) == 0
        assert budget.covers_one()

    asyncio.run(hold())


def test_who_comes_later_is_not_told_before_those_that_are_held(clock: Clock) -> None:
    async def hold() -> None:
        budget = Pace(lambda: False)
        clock.processor += 1
        budget.hold(1, lambda: lambda: None)
        assert not budget.covers_one()
        budget.forget(1)
        assert budget.covers_one()

    asyncio.run(hold())


def test_who_was_told_is_heard_again_before_the_next_tick(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "TICK_SECONDS", 1e9)

    async def hold() -> None:
        budget = Pace(lambda: False)
        heard = asyncio.Event()
        budget.hold(1, lambda: heard.set)
        budget._tick()
        assert len(budget) == 0 and not heard.is_set()
        await asyncio.wait_for(heard.wait(), 10)

    asyncio.run(hold())


def test_all_are_told_once_the_service_has_had_nothing_to_do_for_a_while(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment with nothing to do is none: between answers and the next requests there always is one."""
    monkeypatch.setattr(pace, "TICK_SECONDS", 0.0)
    idle = [True] * (pace.IDLE_TICKS - 1) + [False] + [True] * pace.IDLE_TICKS
    asked = iter(idle)
    told: list[int] = []

    async def hold() -> None:
        budget = Pace(lambda: next(asked))
        monkeypatch.setattr(budget, "_covered", 0.0)
        for number in range(3):
            budget.hold(number, lambda: told.append(1) or (lambda: None))  # type: ignore[func-returns-value]
        while len(budget):
            await asyncio.sleep(0)

    asyncio.run(hold())
    assert len(told) == 3 and next(asked, None) is None
