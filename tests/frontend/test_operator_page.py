"""The operator page says what the declarations say."""

from __future__ import annotations

from tests.frontend.operator_page import PAGE, WHOLE, holding_axes_whole, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.frontend.operator_page`"


def test_every_axis_that_is_held_whole_has_its_reason() -> None:
    listed = [name for names in WHOLE.values() for name in names]
    assert sorted(listed) == sorted(holding_axes_whole())
