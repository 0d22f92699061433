"""The operator page says what the declarations say."""

from __future__ import annotations

from ir.op import OPS
from tests.frontend.operator_page import PAGE, holding_axes_whole, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.frontend.operator_page`"


def test_every_axis_that_is_held_whole_has_its_reason() -> None:
    assert {name for name, operator in OPS.items() if operator.whole} == holding_axes_whole()
