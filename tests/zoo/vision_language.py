"""Models of the transformers library that read images beside text, in small configurations with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

from tests.zoo.entry import Entries, Model
from tests.zoo.hugging_face import SPECIAL, VOCABULARY

MODELS = Entries("transformers")

IMAGE = VOCABULARY - 1
"""The token in whose place a part of an image is read."""

VISION: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "image_size": 16, "patch_size": 4,
}  # fmt: skip
TEXT: dict[str, Any] = {
    **SPECIAL, "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip


def inputs(parts: int, batch: int = 2, length: int = 8) -> dict[str, Tensor]:
    """An image, in `parts` tokens, then text."""
    tokens = torch.randint(3, IMAGE, (batch, parts + length))
    tokens[:, 1 : 1 + parts] = IMAGE
    return {"input_ids": tokens, "pixel_values": torch.randn(batch, 3, 16, 16), "labels": tokens.clone()}


@MODELS.add("LLaVA", "next token after an image")
def llava() -> Model:
    """CLIP's vision before Llama."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_index=IMAGE,
    )
    return transformers.LlavaForConditionalGeneration(config), inputs(16)


@MODELS.add("Gemma 3 with images", "next token after an image")
def gemma3() -> Model:
    """SigLIP's vision, averaged, before Gemma, which looks both ways within an image."""
    config = transformers.Gemma3Config(
        vision_config=transformers.SiglipVisionConfig(**VISION),
        text_config=transformers.Gemma3TextConfig(
            **TEXT, layer_types=["sliding_attention", "full_attention"], sliding_window=8
        ),
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
    )
    given = inputs(4)
    return transformers.Gemma3ForConditionalGeneration(config), {
        **given, "token_type_ids": (given["input_ids"] == IMAGE).long(),
    }  # fmt: skip


@MODELS.add("PaliGemma", "next token after an image")
def paligemma() -> Model:
    config = transformers.PaliGemmaConfig(
        vision_config=transformers.SiglipVisionConfig(**VISION),
        text_config=transformers.GemmaConfig(**TEXT),
        image_token_index=IMAGE,
        projection_dim=32,
    )
    given = inputs(16)
    return transformers.PaliGemmaForConditionalGeneration(config), {
        **given, "token_type_ids": torch.zeros_like(given["input_ids"]),
    }  # fmt: skip
