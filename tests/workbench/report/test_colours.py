"""Colours that tell things apart do so for people who lack a kind of cone, in the light theme and in the dark one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.workbench.report.colour_vision import SIGHT, ciede2000, lab

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "workbench" / "report" / "page"
LEAST = 10.5
"""CIEDE2000 between any two colours of a set that a reader tells apart: seen at a glance."""


def themes() -> dict[str, dict[str, str]]:
    """The colours of the style sheet by name; what the dark theme does not name is that of the light one."""
    light, dark = re.findall(
        r"^(?::root|\[data-theme=\"dark\"\]) \{(.*?)^\}", (PAGE / "style.css").read_text(), re.M | re.S
    )
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", text)) for text in (light, dark)]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def script(name: str, file: str = "core.js") -> list[str]:
    """The texts of a list in the page's script."""
    found = re.search(rf"const {name} = \[(.*?)\];", (PAGE / file).read_text())
    assert found
    return re.findall(r'"([^"]+)"', found[1])


def pictures() -> list[str]:
    """The palette of the documentation's pictures."""
    found = re.search(r"^PALETTE = \((.*?)\)", (ROOT / "docs" / "pictures" / "svg.py").read_text(), re.M | re.S)
    assert found
    return re.findall(r'"(#\w{6})"', found[1])


def sets() -> Iterator[tuple[str, list[str]]]:
    """Colours that stand for different things in one drawing."""
    yield "stages on the floorplan", script("PALETTE")
    yield "kinds of tensors", [*script("PALETTE"), *script("KIND_COLOURS", "memory.js")]
    yield "pictures of the documentation", pictures()
    times = [*script("BOUNDS"), *script("STAGE_TIMES")]
    for theme, colours in themes().items():
        yield f"where time goes, {theme}", [colours[name] for name in dict.fromkeys(times)]
        yield f"nets, {theme}", [_long(colours[name]) for name in ("read", "write", "mark", "network")]


def _long(colour: str) -> str:
    return colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])


SETS = dict(sets())


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", SETS)
def test_no_two_colours_of_a_set_look_alike(name: str, sight: str) -> None:
    assert len(SETS[name]) >= 4
    apart = {(a, b): ciede2000(lab(a, sight), lab(b, sight)) for a, b in itertools.combinations(SETS[name], 2)}
    closest = min(apart, key=lambda pair: apart[pair])
    assert apart[closest] >= LEAST, closest


@pytest.mark.parametrize("sight", SIGHT)
def test_heat_grows_lighter_step_by_step(sight: str) -> None:
    found = re.search(r"const CIVIDIS = \[(.*?)\];", (PAGE / "core.js").read_text())
    assert found
    parts = [int(part) for part in re.findall(r"\d+", found[1])]
    colours = ["#" + "".join(f"{part:02x}" for part in parts[i : i + 3]) for i in range(0, len(parts), 3)]
    steps = np.diff([lab(colour, sight)[0] for colour in colours])
    assert steps.min() > 10 and steps.max() < 2 * steps.min()


PUBLISHED = [
    ((50.0000, 2.6772, -79.7751), (50.0000, 0.0000, -82.7485), 2.0425),
    ((50.0000, 3.1571, -77.2803), (50.0000, 0.0000, -82.7485), 2.8615),
    ((50.0000, 2.5000, 0.0000), (50.0000, 3.1736, 0.5854), 1.0000),
    ((50.0000, 2.5000, 0.0000), (73.0000, 25.0000, -18.0000), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
]
"""Pairs of Sharma, Wu and Dalal, and what is between them."""


@pytest.mark.parametrize(("one", "other", "difference"), PUBLISHED)
def test_differences_are_those_that_were_published(
    one: Sequence[float], other: Sequence[float], difference: float
) -> None:
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=5e-5)
    assert ciede2000(np.array(other), np.array(one)) == pytest.approx(difference, abs=5e-5)


def test_who_lacks_a_cone_confuses_what_they_are_known_to_confuse() -> None:
    green, brown = lab("#7a8b00", "protanopia"), lab("#a67f00", "protanopia")
    assert ciede2000(green, brown) < 5 < ciede2000(lab("#7a8b00"), lab("#a67f00"))
    assert ciede2000(lab("#d06070", "tritanopia"), lab("#d06040", "tritanopia")) < ciede2000(
        lab("#d06070"), lab("#d06040")
    )
