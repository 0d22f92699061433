"""Generating token by token with a cache that stays on the device equals running the whole sequence at once."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from ir.graph import SectionKind, SymbolKind
from tests.models.toolchain import Compiled, compiled, distance
from tests.zoo.decoding import Decoder

BATCH, LENGTH, PROMPT = 2, 8, 3
TOLERANCE = 1e-5

needs_library = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")


def decoder(tokens: int, level: str) -> tuple[Decoder, Compiled]:
    """A decoder compiled for `tokens` new tokens at a time; the same weights every time."""
    torch.manual_seed(3)
    model = Decoder(BATCH, LENGTH).eval()
    inputs = {"token": torch.zeros(BATCH, tokens, dtype=torch.int64), "position": torch.arange(tokens)}
    return model, compiled(ModelSpec(model, inputs, name="decoder"), inference=True, fuse=level == "o3")


@pytest.mark.parametrize("level", ["o3", "o0"])
def test_step_by_step_equals_all_at_once(level: str) -> None:
    model, result = decoder(1, level)
    sequence = torch.randint(31, (BATCH, LENGTH))
    with torch.no_grad():
        expected = to_array(model(sequence, torch.arange(LENGTH)))
    session = result.session()
    for step in range(LENGTH):
        session.run(
            inputs={"token": to_array(sequence[:, step : step + 1]), "position": to_array(torch.tensor([step]))}
        )
        assert distance(session.read("output")[:, 0], expected[:, step]) < TOLERANCE
    for name, buffer in model.named_buffers():
        assert distance(session.read(name), to_array(buffer)) < TOLERANCE


def test_a_prompt_then_steps_share_the_cache() -> None:
    model, prompt = decoder(PROMPT, "o3")
    _, step = decoder(1, "o3")
    sequence = torch.randint(31, (BATCH, PROMPT + 1))
    with torch.no_grad():
        expected = to_array(model(sequence, torch.arange(PROMPT + 1)))
    first, second = prompt.session(), step.session()
    first.run(inputs={"token": to_array(sequence[:, :PROMPT]), "position": to_array(torch.arange(PROMPT))})
    assert distance(first.read("output"), expected[:, :PROMPT]) < TOLERANCE
    for name, _ in model.named_buffers():
        second.write(name, first.read(name))
    second.run(inputs={"token": to_array(sequence[:, PROMPT:]), "position": to_array(torch.tensor([PROMPT]))})
    assert distance(second.read("output")[:, 0], expected[:, PROMPT]) < TOLERANCE


def test_the_cache_is_updated_in_place() -> None:
    model, result = decoder(1, "o3")
    forward = result.program.graph(SectionKind.FWD)
    assert forward is not None
    caches = {name for name, _ in model.named_buffers()}
    assert caches <= {output.symbol for output in forward.outputs} & {value.name for value in forward.inputs}
    assert caches == {symbol.name for symbol in result.program.symbols if symbol.kind is SymbolKind.BUFFER}


@needs_library
def test_llama_with_the_librarys_static_cache() -> None:
    from tests.zoo.hugging_face import LlamaStep, tokens

    torch.manual_seed(3)
    model, sequence = LlamaStep(BATCH, LENGTH).eval(), tokens(BATCH, LENGTH)
    with torch.no_grad():
        expected = to_array(model.model(sequence, use_cache=False).logits)
    inputs = {"token": sequence[:, :1], "position": torch.zeros(1, dtype=torch.int64)}
    session = compiled(ModelSpec(model, inputs, name="llama"), inference=True).session()
    for step in range(LENGTH):
        session.run(
            inputs={"token": to_array(sequence[:, step : step + 1]), "position": to_array(torch.tensor([step]))}
        )
        assert distance(session.read("output")[:, 0], expected[:, step]) < TOLERANCE
