"""Deepseek Coder: Llama for code, with rotary positions stretched over four times the length."""

from __future__ import annotations

from transformers import LlamaConfig

from modelzoo.entry import Entry
from modelzoo.models.language.causal import ENDS, FEED, RECIPE, TINY, call, full, tiny

ROPE = {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0}
"""Positions divided by four."""


def _small() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32256,
        hidden_size=2048,
        intermediate_size=5504,
        num_hidden_layers=24,
        num_attention_heads=16,
        max_position_embeddings=16384,
        rope_parameters=ROPE,
    )


def _seven() -> LlamaConfig:
    return LlamaConfig(vocab_size=32256, max_position_embeddings=16384, rope_parameters=ROPE)


def _large() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32256,
        hidden_size=7168,
        intermediate_size=19200,
        num_hidden_layers=62,
        num_attention_heads=56,
        num_key_value_heads=8,
        max_position_embeddings=16384,
        rope_parameters=ROPE,
    )


ENTRY = Entry(
    name="deepseek_coder",
    title="Deepseek Coder",
    about="Open language model for code: Llama with rotary positions stretched to 16,384 tokens.",
    source="D. Guo et al., DeepSeek-Coder: when the large language model meets programming, 2024",
    sizes={
        "tiny": tiny(lambda: LlamaConfig(**TINY, **FEED, **ENDS, rope_parameters=ROPE), "positions stretched by four"),
        "1.3b": full(_small, "1.3 billion parameters", 4096),
        "6.7b": full(_seven, "6.7 billion parameters", 4096),
        "33b": full(_large, "33 billion parameters, 8 heads of keys", 4096),
    },
    recipe=RECIPE,
    call=call,
)
