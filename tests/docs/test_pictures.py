"""The pictures: drawn anew from PEFs, each of them shown on a page, and sound as XML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.pages import DOCS, pages

PICTURES = DOCS / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


def sound(path: Path) -> None:
    """Has a title for people who do not see it, and something to see, within its frame."""
    root = ElementTree.parse(path).getroot()
    assert root.find(f"{SVG}title") is not None and root.find(f"{SVG}desc") is not None
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = root.findall(f"{SVG}rect")[1:]
    assert len(boxes) > 2
    for box in boxes:
        x, y, w, h = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and w >= 0 and h >= 0 and x + w <= width and y + h <= height, (path.name, box.attrib)


def test_every_picture_is_shown_and_sound() -> None:
    shown = "".join(page.read_text() for page in pages())
    for path in PICTURES.glob("*.svg"):
        assert f"pictures/{path.name})" in shown, f"no page shows {path.name}"
        sound(path)


@pytest.mark.full
def test_pictures_are_drawn_from_what_the_compiler_makes_now(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(PICTURES / "make.py"), str(tmp_path)], check=True)
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn == {path.name for path in PICTURES.glob("*.svg")}
    for path in tmp_path.glob("*.svg"):
        sound(path)
