"""Mixtures of experts of the transformers library, as they are by default, in small configurations."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from tests.zoo.entry import Entry, Model
from tests.zoo.hugging_face import SHAPE, SPECIAL, language

EXPERTS = {
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "moe_topk": 2, "moe_k": 2,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "n_shared_experts": 1,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
"""What the families call the same things."""

LATENT = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4, "head_dim": 8,
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    "Mixtral": {},
    "Qwen2Moe": {},
    "Qwen3Moe": {"head_dim": 8},
    "Olmoe": {},
    "GptOss": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6, "head_dim": 8},
    "GraniteMoe": {},
    "Phimoe": {"router_jitter_noise": 0.0, "input_jitter_noise": 0.0},
    "Ernie4_5_Moe": {},
    "Glm4Moe": {"head_dim": 8},
    "Dots1": {"head_dim": 8},
    "DeepseekV3": LATENT,
    "FlexOlmo": {},
    "Jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "use_mamba_kernels": False, "mamba_d_state": 4, "mamba_d_conv": 2, "mamba_expand": 2,
    },
}  # fmt: skip


def of_family(name: str) -> Model:
    """A causal language model with experts."""
    kind = getattr(transformers, f"{name}Config")
    wanted = {**SHAPE, **SPECIAL, "num_key_value_heads": 2, **EXPERTS, "attention_dropout": 0.0, **FAMILIES[name]}
    known = {field for base in kind.__mro__ for field in getattr(base, "__annotations__", {})}
    known |= set(getattr(kind, "attribute_map", {}))
    config = kind(**{key: value for key, value in wanted.items() if key in known})
    return getattr(transformers, f"{name}ForCausalLM")(config), language()


MODELS = {
    name: Entry(f"`{name}ForCausalLM`", "next token; a mixture of experts", "transformers", partial(of_family, name))
    for name in FAMILIES
}
