"""Times are written in the unit that suits them."""

from __future__ import annotations

import pytest

from pef.wording import duration


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (0.48, "480 ns"),
        (81.3, "81.3 us"),
        (9_999.0, "9,999.0 us"),
        (12_500.0, "12.5 ms"),
        (999_940.0, "999.9 ms"),
        (999_960.0, "1.00 s"),
        (1_250_000.0, "1.25 s"),
        (16_400_000.0, "16.40 s"),
    ],
)
def test_durations(us: float, words: str) -> None:
    assert duration(us) == words
