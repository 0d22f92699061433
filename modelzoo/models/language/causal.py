"""What all models that predict the next token have in common: samples, loss, quality, and the text they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from ir.op import Array
from modelzoo.data.documents import VOCABULARY, windows
from modelzoo.entry import Arrays, Outputs, Quality, Recipe, Size, Tensors
from modelzoo.optimizers import adamw

TINY_LENGTH = 32
TINY_BATCH = 16

TINY = {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
"""Of every tiny model; what differs between the kinds is added to it."""
FEED = {"intermediate_size": 160, "max_position_embeddings": 128}
ENDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None, "tie_word_embeddings": False}


def tiny(config: Callable[[], PretrainedConfig], of: str) -> Size:
    """The configuration that is trained on a laptop."""
    return Size(lambda: build(config()), samples, TINY_BATCH, f"{of}, two layers of width 64", TINY_LENGTH)


def full(config: Callable[[], PretrainedConfig], published: str, length: int, batch: int = 1) -> Size:
    """A published configuration, in bfloat16."""
    return Size(lambda: build(config(), torch.bfloat16), samples, batch, published, length)


def build(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The library's model of a configuration."""
    config.use_cache = False
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def samples(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
    """Tokens, which are their own labels: the model shifts them."""
    ids = torch.zeros(batch, length or TINY_LENGTH, dtype=torch.int64)
    return {"input_ids": ids, "labels": ids.clone()}, {}


def call(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """The mean loss where there are labels, else the logits [batch, length, vocabulary]."""
    found = model(**inputs)
    return {"loss": found.loss} if "labels" in inputs else found.logits


def learn_documents(seed: int) -> tuple[Arrays, Arrays]:
    """Windows of the project's documentation."""
    train, test = windows(TINY_LENGTH, seed)
    return _labelled(train), _labelled(test)


def _labelled(data: Mapping[str, Array]) -> dict[str, Array]:
    return {**data, "labels": data["input_ids"]}


def perplexity(outputs: Outputs, test: Arrays) -> float:
    """exp of the mean negative log-probability of each window's tokens after the first."""
    logits = torch.from_numpy(outputs["output"][:, :-1]).double()
    chosen = torch.from_numpy(test["input_ids"][:, 1:]).long()
    chances = torch.log_softmax(logits, -1).gather(2, chosen[..., None])
    return float(np.exp(-chances.mean()))


RECIPE = Recipe(
    data=learn_documents,
    optimizer=adamw(3e-3, eps=1e-5),
    epochs=1,
    quality=Quality("perplexity over 512 tokens of unseen documentation", perplexity, 45.0),
)
"""A model that knows nothing has a perplexity of 512."""
