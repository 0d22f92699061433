"""Falcon: one head of keys for all queries, attention beside the feed-forward network."""

from __future__ import annotations

from transformers import FalconConfig

from modelzoo.entry import Entry
from modelzoo.models.language.causal import ENDS, RECIPE, TINY, call, full, tiny


def _seven() -> FalconConfig:
    return FalconConfig(
        vocab_size=65024,
        hidden_size=4544,
        num_hidden_layers=32,
        num_attention_heads=71,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )


def _forty() -> FalconConfig:
    return FalconConfig(
        vocab_size=65024,
        hidden_size=8192,
        num_hidden_layers=60,
        num_attention_heads=128,
        num_kv_heads=8,
        new_decoder_architecture=True,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )


ENTRY = Entry(
    name="falcon",
    title="Falcon",
    about="Open language model: one head of keys for all queries, attention and feed-forward side by side.",
    source="E. Almazrouei et al., The Falcon series of open language models, 2023",
    sizes={
        "tiny": tiny(
            lambda: FalconConfig(**TINY, **ENDS, hidden_dropout=0.0, attention_dropout=0.0), "one head of keys"
        ),
        "7b": full(_seven, "6.9 billion parameters", 2048),
        "40b": full(_forty, "41 billion parameters, 8 heads of keys", 2048),
    },
    recipe=RECIPE,
    call=call,
)
