"""The page of models says what the entries say."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from tests.zoo import experts, families, hugging_face, science, vision, vision_language
from tests.zoo.models_page import PAGE, TESTS, page


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run `python -m tests.zoo.models_page`"


def test_every_entry_is_tested() -> None:
    defined = (vision.MODELS, science.MODELS, hugging_face.MODELS, hugging_face.CACHED, experts.MODELS, families.MODELS)
    entries = [entry for models in (*defined, vision_language.MODELS) for entry in models.values()]
    tested = [entry for test in TESTS for entry in test.MODELS.values()]
    assert sorted(map(id, tested)) == sorted(map(id, entries))
