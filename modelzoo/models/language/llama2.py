"""Llama 2: a decoder with rotary positions, gated feed-forward networks and root-mean-square norms."""

from __future__ import annotations

from transformers import LlamaConfig

from modelzoo.entry import Entry
from modelzoo.models.language.causal import ENDS, FEED, RECIPE, TINY, call, full, tiny


def _seven() -> LlamaConfig:
    return LlamaConfig(max_position_embeddings=4096, rms_norm_eps=1e-5)


def _thirteen() -> LlamaConfig:
    return LlamaConfig(
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
    )


def _seventy() -> LlamaConfig:
    return LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
    )


ENTRY = Entry(
    name="llama2",
    title="Llama 2",
    about="Open language model: rotary positions, gated feed-forward networks; 70B with grouped keys.",
    source="H. Touvron et al., Llama 2: open foundation and fine-tuned chat models, 2023",
    sizes={
        "tiny": tiny(lambda: LlamaConfig(**TINY, **FEED, **ENDS), "as many heads of keys as of queries"),
        "7b": full(_seven, "6.7 billion parameters", 4096),
        "13b": full(_thirteen, "13 billion parameters", 4096),
        "70b": full(_seventy, "69 billion parameters, 8 heads of keys", 4096),
    },
    recipe=RECIPE,
    call=call,
)
