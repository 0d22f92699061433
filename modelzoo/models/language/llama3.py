"""Llama 3: Llama with grouped keys, a vocabulary of 128,256 tokens and longer sequences."""

from __future__ import annotations

from transformers import LlamaConfig

from modelzoo.entry import Entry
from modelzoo.models.language.causal import ENDS, FEED, RECIPE, TINY, call, full, tiny

ROPE = {"rope_type": "default", "rope_theta": 500000.0}
"""A slower turn of the positions than Llama 2's."""


def _eight() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters=ROPE,
    )


def _seventy() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters=ROPE,
    )


ENTRY = Entry(
    name="llama3",
    title="Llama 3",
    about="Open language model: grouped keys and values, a large vocabulary, sequences of 8192 tokens.",
    source="A. Dubey et al., The Llama 3 herd of models, 2024",
    sizes={
        "tiny": tiny(
            lambda: LlamaConfig(**TINY, **FEED, **ENDS, num_key_value_heads=2), "two heads of keys for four of queries"
        ),
        "8b": full(_eight, "8.0 billion parameters", 8192),
        "70b": full(_seventy, "71 billion parameters", 8192),
    },
    recipe=RECIPE,
    call=call,
)
