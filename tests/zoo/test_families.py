"""Families of the transformers library, through the frontend and the reference interpreter: a training step and
inference equal PyTorch's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo.equal import assert_equal_to_pytorch

pytest.importorskip("transformers")

from tests.zoo import families

HERE = Path(__file__)
MODELS = families.MODELS
ALWAYS = ("Gemma2", "LongT5")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.full) for name in MODELS]
)
def test_training_and_inference_equal_pytorch(name: str) -> None:
    assert_equal_to_pytorch(MODELS[name], 9, HERE)
