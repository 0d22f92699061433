"""The queue: bounded, in order, all or nothing, and closed in order."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from modelbox.box_file import Limits
from modelbox.refusal import Reason, Refusal
from modelbox.service.waiting import Waiting, guarded


@dataclass(eq=False)
class Ticket:
    nbytes: int = 1
    gone: bool = False


def limits(queue: int = 3, queued_bytes: int = 100) -> Limits:
    return Limits.model_validate({"queue": queue, "queued_bytes": queued_bytes})


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    waiting: Waiting[Ticket] = Waiting(limits())
    waiting.offer([Ticket(), Ticket()])
    with pytest.raises(Refusal) as error:
        waiting.offer([Ticket(), Ticket()])
    assert error.value.reason is Reason.BUSY and error.value.retry_after == 1
    assert len(waiting) == waiting.pending == 2
    waiting.offer([Ticket()])
    with pytest.raises(Refusal) as error:
        waiting.offer([Ticket()] * 4)
    assert error.value.reason is Reason.TOO_LARGE


def test_bytes_are_bounded_too_and_given_back() -> None:
    waiting: Waiting[Ticket] = Waiting(limits())
    waiting.offer([Ticket(nbytes=90)])
    with pytest.raises(Refusal):
        waiting.offer([Ticket(nbytes=20)])
    assert waiting.take(lambda ticket: True) is not None
    waiting.offer([Ticket(nbytes=20)])


def test_requests_leave_in_order_and_those_given_up_go_by_the_way() -> None:
    waiting: Waiting[Ticket] = Waiting(limits())
    gone, large, small = Ticket(gone=True), Ticket(nbytes=9), Ticket()
    waiting.offer([gone, large, small])
    assert waiting.take(lambda ticket: ticket.nbytes < 5) is small
    assert waiting.pending == 2
    assert waiting.take(lambda ticket: True) is large
    assert waiting.take(lambda ticket: True) is None
    waiting.finished(0.1)
    waiting.finished(0.1)
    assert waiting.pending == 0


def test_who_waits_is_woken_by_a_request_and_by_the_end() -> None:
    waiting: Waiting[Ticket] = Waiting(limits())
    found: list[Ticket | None] = []

    def work() -> None:
        while (ticket := waiting.take(lambda t: True, wait=True)) is not None:
            found.append(ticket)

    thread = threading.Thread(target=work)
    thread.start()
    ticket = Ticket()
    waiting.offer([ticket])
    waiting.close(Refusal(Reason.UNAVAILABLE, "the end"))
    with pytest.raises(Refusal, match="the end"):
        waiting.offer([Ticket()])
    waiting.end()
    thread.join(timeout=30)
    assert not thread.is_alive() and found == [ticket]


def test_no_request_is_let_in_once_nobody_works() -> None:
    waiting: Waiting[Ticket] = Waiting(limits())

    def work() -> None:
        raise ValueError("unforeseen")

    with pytest.raises(ValueError):
        guarded(work, waiting)
    with pytest.raises(Refusal) as error:
        waiting.offer([Ticket()])
    assert error.value.reason is Reason.UNAVAILABLE


def test_what_is_being_read_counts_as_waiting() -> None:
    waiting: Waiting[Ticket] = Waiting(limits())
    assert waiting.full() is None and waiting.full(2) is None
    refusal = waiting.full(3)
    assert refusal is not None and refusal.reason is Reason.BUSY
    waiting.offer([Ticket(), Ticket()])
    assert waiting.take(lambda ticket: True) is not None
    assert waiting.full(3) is None, "one waits, one is at work, one is being read"
    assert waiting.full(4) is not None
    waiting.close(Refusal(Reason.UNAVAILABLE, "the service is ending"))
    refusal = waiting.full()
    assert refusal is not None and refusal.reason is Reason.UNAVAILABLE and refusal.retry_after is not None
