"""BERT: an encoder that reads both ways, and fills in masked words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from ir.op import Array
from modelzoo.data.documents import VOCABULARY, windows
from modelzoo.data.prompts import IGNORED
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors
from modelzoo.models.language.causal import TINY_BATCH, TINY_LENGTH
from modelzoo.optimizers import adamw

DRY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MASK = 1
"""The tokenizer's byte that stands for a masked token: one that the documentation never uses."""
MASKED_SHARE = 0.15


def _tiny() -> BertConfig:
    return BertConfig(
        vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=64, **DRY,
    )  # fmt: skip


def _large() -> BertConfig:
    return BertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, **DRY
    )  # fmt: skip


def _samples(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
    ids = torch.zeros(batch, length or TINY_LENGTH, dtype=torch.int64)
    return {"input_ids": ids, "labels": ids.clone()}, {}


def _call(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    found = model(**inputs)
    return {"loss": found.loss} if "labels" in inputs else found.logits


def _data(seed: int) -> tuple[Arrays, Arrays]:
    train, test = windows(TINY_LENGTH, seed)
    random = np.random.default_rng((seed, 1))
    return _masked(train["input_ids"], random), _masked(test["input_ids"], random)


def _masked(ids: Array, random: np.random.Generator) -> dict[str, Array]:
    """Some tokens of every window replaced by the mask; those are the labels."""
    chosen = random.random(ids.shape) < MASKED_SHARE
    chosen[np.arange(len(ids)), random.integers(ids.shape[1], size=len(ids))] = True
    return {
        "input_ids": np.where(chosen, MASK, ids).astype(np.int32),
        "labels": np.where(chosen, ids, IGNORED).astype(np.int32),
    }


def _perplexity(outputs: Outputs, test: Arrays) -> float:
    labels = torch.from_numpy(test["labels"]).long()
    logits = torch.from_numpy(outputs["output"]).double()[labels != IGNORED]
    return float(nn.functional.cross_entropy(logits, labels[labels != IGNORED]).exp())


ENTRY = Entry(
    name="bert",
    title="BERT",
    about="Encoder that reads a text in both directions; pretrained by filling in masked words.",
    source="J. Devlin et al., BERT: pre-training of deep bidirectional transformers, 2018",
    sizes={
        "tiny": Size(lambda: BertForMaskedLM(_tiny()), _samples, TINY_BATCH, "two layers of width 64", TINY_LENGTH),
        "base": Size(lambda: BertForMaskedLM(BertConfig(**DRY)), _samples, 8, "110 million parameters", 512),
        "large": Size(lambda: BertForMaskedLM(_large()), _samples, 8, "335 million parameters", 512),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(1e-3),
        epochs=1,
        quality=Quality("perplexity of masked tokens of unseen documentation, of 512", _perplexity, 230.0),
    ),
    call=_call,
)
