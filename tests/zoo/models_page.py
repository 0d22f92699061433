"""The table of models in `docs/models.md`, from their entries: `python -m tests.zoo.models_page` writes it.

A model is listed with the test that takes it from the entries, so that the page says what is tested and how.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.zoo import test_cached, test_experts, test_families, test_models, test_vision_language

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "models.md"
BEGIN = "<!-- the models: `python -m tests.zoo.models_page` writes them -->"
END = "<!-- end of the models -->"

TESTS = (test_models, test_cached, test_families, test_experts, test_vision_language)
"""Each has `MODELS`, what it is run for."""


def page(text: str) -> str:
    """The page with its table as the entries have it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *_table(), "", *_tests(), "", END + after])


def _table() -> Iterator[str]:
    rows: dict[tuple[str, str, str], list[str]] = {}
    for test in TESTS:
        for entry in test.MODELS.values():
            rows.setdefault((_source(entry.source), entry.trained_on, _name(test)), []).append(entry.title)
    yield "| model | from | trained on | tested in |"
    yield "|---|---|---|---|"
    for (source, trained_on, test), titles in rows.items():
        yield f"| {'; '.join(dict.fromkeys(titles))} | {source} | {trained_on} | {test} |"


def _tests() -> Iterator[str]:
    for test in TESTS:
        path = Path(str(test.__file__)).relative_to(ROOT)
        yield f"- [{_name(test)}](../{path.as_posix()}): {' '.join((test.__doc__ or '').split())}"


def _name(test: ModuleType) -> str:
    return f"`{test.__name__.rpartition('.')[2]}`"


def _source(source: str) -> str:
    return f"[`{source}`](../{source})" if source.endswith(".py") else f"`{source}`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
