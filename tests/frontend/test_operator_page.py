"""The operator page says what the declarations say."""

from __future__ import annotations

from tests.frontend.operator_page import PAGE, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.frontend.operator_page`"
