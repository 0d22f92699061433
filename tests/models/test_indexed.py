"""Embeddings and caches through the whole toolchain: rows by index, and the numbers are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backends.rdu.fuse.rules_file import read_rules
from compiler.frontend.model_file import ModelSpec
from pef import pef_pb2 as pb
from runtime.session import Session
from tests.models.toolchain import compiled, sgd, train_beside_torch


class Bag(nn.Module):
    """Words that predict the next one, of a vocabulary much larger than the text."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(900, 16)
        self.places = nn.Embedding(12, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(torch.arange(12))
        return nn.functional.cross_entropy(self.head(torch.tanh(x)).mean(1), labels)


class Decoder(nn.Module):
    """One token's attention over a cache that it adds its key to."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(16, 16, bias=False)
        self.register_buffer("cache", torch.zeros(1, 2, 64, 8))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        key = self.project(x).view(1, 1, 2, 8).transpose(1, 2)
        self.cache.index_copy_(2, position, key)
        return nn.functional.scaled_dot_product_attention(key, self.cache, self.cache)


def by_index(pef: pb.Pef) -> set[tuple[bool, str]]:
    """Who streams by index: whether it stores, and the symbol."""
    return {
        (stream.store, pef.symbols[section.bindings[stream.slot]].name)
        for section in pef.sections
        for phase in pef.configurations[section.configuration].phases
        for stream in phase.streams
        if stream.HasField("index")
    }


@pytest.mark.parametrize("level", ["o3", "o1", "o0"])
def test_training_an_embedding_equals_pytorch(level: str) -> None:
    torch.manual_seed(3)
    model, inputs = Bag(), {"tokens": torch.randint(900, (4, 12)), "labels": torch.randint(10, (4,))}
    subject = ModelSpec(model, inputs, optimizer=sgd(model.parameters()), name="bag")
    rules = read_rules() if level == "o1" else None
    own = compiled(subject, fuse=level == "o3", rules=rules)
    assert by_index(own.pef) == {(False, "words.weight")}
    worst = train_beside_torch(subject, own, 3)
    assert {name: error for name, error in worst.items() if error > 1e-5} == {}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("level", ["o3", "o0"])
def test_decoding_with_a_cache_equals_pytorch(level: str, strict: bool) -> None:
    torch.manual_seed(3)
    model = Decoder().eval()
    inputs = {"x": torch.randn(1, 16), "position": torch.tensor([0])}
    own = compiled(ModelSpec(model, inputs, name="decoder"), inference=True, fuse=level == "o3")
    assert by_index(own.pef) == {(True, "cache")}
    session = own.session(strict=strict)
    assert isinstance(session, Session)
    with torch.no_grad():
        model.cache.zero_()
        for position in (0, 1, 63, 1):
            x = torch.randn(1, 16)
            expected = model(x, torch.tensor([position]))
            found = session.run(inputs={"x": x.numpy(), "position": np.array([position], np.int32)})
            (output,) = (value for name, value in found.items() if name != "cache")
            np.testing.assert_allclose(output, expected.numpy(), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(session.read("cache"), model.cache.numpy(), rtol=1e-5, atol=1e-6)
