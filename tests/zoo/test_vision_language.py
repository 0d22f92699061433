"""Models that read images beside text, through the frontend and the reference interpreter: a training step and
inference equal PyTorch's. Their checks of values are left out, as they only raise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo.equal import assert_equal_to_pytorch

transformers = pytest.importorskip("transformers")

from tests.zoo import vision_language  # noqa: E402

HERE = Path(__file__)
MODELS = vision_language.MODELS
ALWAYS = ("llava",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.full) for name in MODELS]
)
def test_training_and_inference_equal_pytorch(name: str) -> None:
    assert_equal_to_pytorch(MODELS[name], 8, HERE)
