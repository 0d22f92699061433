"""Mistral: grouped keys, and attention that looks back over a window."""

from __future__ import annotations

from transformers import MistralConfig

from modelzoo.entry import Entry
from modelzoo.models.language.causal import ENDS, FEED, RECIPE, TINY, call, full, tiny


def _seven() -> MistralConfig:
    return MistralConfig(vocab_size=32000, max_position_embeddings=32768, sliding_window=4096)


ENTRY = Entry(
    name="mistral",
    title="Mistral",
    about="Open language model: grouped keys, and attention over a sliding window of 4096 tokens.",
    source="A. Q. Jiang et al., Mistral 7B, 2023",
    sizes={
        "tiny": tiny(
            lambda: MistralConfig(**TINY, **FEED, **ENDS, num_key_value_heads=2, sliding_window=12),
            "a window of 12 tokens",
        ),
        "7b": full(_seven, "7.2 billion parameters", 4096),
    },
    recipe=RECIPE,
    call=call,
)
