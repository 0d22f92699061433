"""Decoders as they are by default, through the frontend and the reference interpreter: three training steps and
inference equal PyTorch's, and the results without the cache are those of `use_cache=False`."""

from __future__ import annotations

import pytest
import torch

from compiler.frontend.returned import flat_tensors
from tests.frontend.test_returned import check, said

pytest.importorskip("transformers")

from tests.zoo import hugging_face

MODELS = hugging_face.CACHED


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_with_its_default_cache(name: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(4)
    model, inputs = MODELS[name].make()
    names = check(model, inputs)
    assert names[:2] == ["loss", "logits"]
    assert "Cache), a cache for a later call: only tensors are outputs" in said(caplog)[0]
    with torch.no_grad():
        cached, plain = model(**inputs), model(**inputs, use_cache=False)
    assert cached.past_key_values is not None
    assert len(flat_tensors(cached)) == len(flat_tensors(plain))
