"""More families of the transformers library, in small configurations with random weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import transformers

from tests.zoo.entry import Entry, Model
from tests.zoo.hugging_face import VOCABULARY, tokens

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1,
}  # fmt: skip
DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "dropout", "hidden_dropout",
    "resid_pdrop", "embd_pdrop", "attn_pdrop", "activation_dropout", "dropout_rate", "embedding_dropout", "mlp_dropout",
    "classifier_dropout_prob", "drop_path_rate", "seq_classif_dropout", "summary_last_dropout",
)  # fmt: skip
HEADS: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8}
NARROW: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40}
BOTH: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip

DECODERS: dict[str, dict[str, Any]] = {
    "Qwen2": HEADS,
    "Qwen3": HEADS,
    "Gemma2": {**HEADS, "query_pre_attn_scalar": 8, "sliding_window": 6},
    "Phi3": {"num_key_value_heads": 2},
    "Olmo2": HEADS,
    "Cohere": {"num_key_value_heads": 2},
    "GPTNeoX": {},
    "GPTJ": {**NARROW, "rotary_dim": 4},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "Bloom": {"n_layer": 2, "n_head": 4},
    "Mamba": {"state_size": 4, "time_step_rank": 4},
    "Mamba2": {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
    "RecurrentGemma": {
        "num_key_value_heads": 1, "lru_width": 32, "attention_window_size": 6, "num_hidden_layers": 3,
    },
}  # fmt: skip
"""What the configurations of causal language models have beside `TEXT`."""

TRANSLATORS: dict[str, dict[str, Any]] = {
    "Bart": BOTH,
    "Pegasus": BOTH,
    "LongT5": {
        "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "local_radius": 3,
        "decoder_start_token_id": 0,
    },
}  # fmt: skip

ENCODERS: dict[str, dict[str, Any]] = {
    "Roberta": {},
    "ModernBert": {"local_attention": 6, "global_attn_every_n_layers": 2},
    "MPNet": {},
    "RoFormer": {"embedding_size": 32},
}

IMAGES: dict[str, dict[str, Any]] = {
    "Swin": {"patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
    "Swinv2": {"patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
    "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    "Dinov2": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 8,
    },
    "Segformer": {
        "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16],
        "patch_sizes": [3, 3], "strides": [2, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
    },
}  # fmt: skip


def _configured(family: str, usual: dict[str, Any], more: dict[str, Any]) -> Any:
    """The configuration with `more` and with what it knows of the usual, without dropout."""
    kind = getattr(transformers, f"{family}Config")
    known = {field for base in kind.__mro__ for field in getattr(base, "__annotations__", {})}
    known |= set(kind.attribute_map)
    usual = {**dict.fromkeys(DROPOUTS, 0.0), **usual}
    return kind(**{**{key: value for key, value in usual.items() if key in known}, **more})


def text(family: str, head: str, more: dict[str, Any]) -> Model:
    """A model of text, whose labels are its input: it shifts or masks them itself."""
    model = getattr(transformers, family + head)(_configured(family, TEXT, more))
    ids = tokens(2, 10)
    return model, {"input_ids": ids, "labels": ids.clone()}


def images(family: str, more: dict[str, Any]) -> Model:
    """A classifier of images."""
    config = _configured(family, {"image_size": 32, "num_labels": 3}, more)
    model = getattr(transformers, f"{family}ForImageClassification")(config)
    return model, {"pixel_values": torch.randn(2, 3, 32, 32), "labels": torch.randint(2, (2,))}


def _entries(families: dict[str, dict[str, Any]], head: str, trained_on: str) -> dict[str, Entry]:
    return {
        name: Entry(f"`{name}{head}`", trained_on, "transformers", partial(text, name, head, more))
        for name, more in families.items()
    }


MODELS = {
    **_entries(DECODERS, "ForCausalLM", "next token"),
    **_entries(TRANSLATORS, "ForConditionalGeneration", "next token after another sequence"),
    **_entries(ENCODERS, "ForMaskedLM", "tokens"),
    **{
        name: Entry(f"`{name}ForImageClassification`", "classification", "transformers", partial(images, name, more))
        for name, more in IMAGES.items()
    },
}
