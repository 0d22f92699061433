"""Hugging Face folders go in and come out bit by bit, in one file or in several, and are refused where not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from ir.errors import BindError, UsageError
from modelzoo.checkpoints.hugging_face import bind, pretrained, read_config, write
from modelzoo.generation.decoder import Decoder
from tests.modelzoo.languages import generation_pef, model

SHARD = "20KB"


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.fixture(scope="module")
def pefs(tmp_path_factory: pytest.TempPathFactory) -> dict[torch.dtype, Path]:
    """PEFs compiled from configurations alone."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        config = model("llama", dtype).config
        found[dtype] = generation_pef(config, tmp_path_factory.mktemp("pef"), batch=1, prefill=(8,))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint in float32, in several files, with something that stands for a tokenizer."""
    return saved(model("llama"), tmp_path / "checkpoint")


def saved(subject: PreTrainedModel, folder: Path) -> Path:
    subject.save_pretrained(folder, max_shard_size=SHARD)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_round_trip_is_exact(dtype: torch.dtype, pefs: dict[torch.dtype, Path], tmp_path: Path) -> None:
    source = saved(model("llama", dtype), tmp_path / "in")
    assert len(list(source.glob("*.safetensors"))) > 1
    decoder = Decoder.open(pefs[dtype])
    bind(pretrained(source), decoder.session)
    write(decoder.session, read_config(source), tmp_path / "out", tokenizer_from=source, shard_size=SHARD)
    before, after = tensors(source), tensors(tmp_path / "out")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype == dtype
        assert torch.equal(tensor, after[name])
    assert (tmp_path / "out" / "tokenizer.json").read_text() == "{}"
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(before)


def test_transformers_loads_what_was_written(folder: Path, pefs: dict[torch.dtype, Path], tmp_path: Path) -> None:
    decoder = Decoder.open(pefs[torch.float32])
    bind(pretrained(folder), decoder.session)
    write(decoder.session, read_config(folder), tmp_path / "out")
    ids = torch.tensor([[5, 17, 40, 8, 3, 60]])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        expected = loaded(ids).logits[0, -1].numpy()
        assert np.array_equal(expected, pretrained(folder).eval()(ids).logits[0, -1].numpy())
    np.testing.assert_allclose(decoder.feed({0: ids[0].tolist()})[0], expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_that_is_not_whole_is_refused(folder: Path) -> None:
    first = sorted(folder.glob("*.safetensors"))[0]
    kept = {name: tensor.clone() for name, tensor in load_file(first).items()}  # not a view of what is broken next
    content = first.read_bytes()
    first.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UsageError, match=r"(?s)are pointers, not weights.*git lfs pull"):
        pretrained(folder)
    first.write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="cannot be loaded"):
        pretrained(folder)
    lost = sorted(kept)[0]
    save_file(
        {name: tensor for name, tensor in kept.items() if name != lost} or {"x": torch.zeros(1)},
        first,
        {"format": "pt"},
    )
    with pytest.raises(UsageError, match=f"lacks '{lost}'|cannot be loaded"):
        pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(UsageError, match=r"no \.safetensors file"):
        pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match=r"no config\.json"):
        pretrained(folder)


def test_a_checkpoint_of_another_model_is_refused(pefs: dict[torch.dtype, Path]) -> None:
    decoder = Decoder.open(pefs[torch.float32])
    with pytest.raises(BindError, match=r"lacks 'model\.embed_tokens\.weight'"):
        bind(model("gpt2"), decoder.session)


def test_a_pef_without_its_constants_is_refused(pefs: dict[torch.dtype, Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone.pef"
    alone.write_bytes(pefs[torch.float32].read_bytes())
    with pytest.raises(UsageError, match=r"constants in .*alone\.safetensors"):
        Decoder.open(alone)
