"""The runner itself: it notices commands that fail, output that is missing, and blocks that nobody answers for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.pages import Block, quick
from tests.docs.runner import follow, found


def page(tmp_path: Path, text: str) -> list[Block]:
    """The blocks of a page with this text."""
    path = tmp_path / "page.md"
    path.write_text(text)
    return pages.blocks(path)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Block, "__str__", lambda block: f"{block.page.name}:{block.line}")
    (tmp_path / "room").mkdir()


SOUND = """# Page

```python
# numbers/one.py
ONE = 1
```

```python
import sys
sys.path.append("numbers")
from one import ONE
```

```python
print("one is", ONE)
```

*It prints, among others:*

```text
one ... 1
```

*It ends with exit status 3.*

```sh
cat numbers/one.py
exit 3
```

<!-- run by make test-full: it is slow -->

```sh
echo slow
```

*It prints, among others:*

```text
slow
```

<!-- not run: nobody could -->

```sh
false
```
"""


def test_a_sound_page_is_followed(tmp_path: Path) -> None:
    blocks = page(tmp_path, SOUND)
    follow(blocks, tmp_path / "room")
    assert (tmp_path / "room" / "numbers" / "one.py").read_text() == "# numbers/one.py\nONE = 1\n"
    assert [block.language for block in quick(blocks)] == ["python", "python", "python", "text", "sh", "sh"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("exit 3", "exit 4", "ends with 4"),
        ("from one import ONE", "from one import TWO", "ends with 1"),
        ("one ... 1", "one ... 2", "not printed"),
        ("echo slow", "pip install slow", "installs or tests"),
        ("<!-- not run: nobody could -->", "Nothing is said.", "ends with 1"),
    ],
)
def test_what_is_not_so_is_noticed(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SOUND
    with pytest.raises(AssertionError, match=message):
        follow(page(tmp_path, SOUND.replace(old, new)), tmp_path / "room")


def test_dots_stand_for_text_within_a_line() -> None:
    assert found("a ... c", "x\n  a   b  c\n")
    assert found("loss ok", "loss      ok")
    assert not found("a ... c", "a\nc\n")


def test_a_quotation_names_its_file(tmp_path: Path) -> None:
    (block,) = page(tmp_path, "From [`x.py`](../x.py):\n\n```python\nX = 1\n```\n")
    assert block.quoted == (tmp_path / ".." / "x.py").resolve()
    assert not block.is_run
