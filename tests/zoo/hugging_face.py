"""Models of the transformers library in small configurations, with random weights."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor, nn

from tests.zoo.entry import Entries, Model

transformers.logging.set_verbosity_error()

VOCABULARY = 61
WIDTH = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE = {**WIDTH, "intermediate_size": 64, "max_position_embeddings": 16}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

MODELS = Entries("transformers")
CACHED = Entries("transformers")
"""Decoders as they are by default, with a cache that grows."""


def tokens(batch: int = 4, length: int = 12) -> Tensor:
    return torch.randint(3, VOCABULARY, (batch, length))


def language() -> dict[str, Tensor]:
    """Inputs of a causal language model, whose labels it shifts itself."""
    ids = tokens()
    return {"input_ids": ids, "labels": ids.clone()}


@MODELS.add("GPT-2", "next token")
def gpt2() -> Model:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=32, n_layer=2, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, **SPECIAL,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), language()


@MODELS.add("BERT", "masked tokens")
def bert_masked() -> Model:
    """Every fourth token is to be predicted; the others are not scored."""
    ids = tokens()
    labels = torch.where(torch.arange(12) % 4 == 1, ids, -100)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SHAPE, **NO_DROPOUT, **SPECIAL))
    return model, {"input_ids": ids, "labels": labels}


@MODELS.add("BERT", "classification, with padding")
def bert_classification() -> Model:
    """Sequences of two lengths, padded, with a mask."""
    mask = torch.ones(4, 12, dtype=torch.int64)
    mask[::2, 9:] = 0
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(**SHAPE, **NO_DROPOUT, **SPECIAL, num_labels=3)
    )
    return model, {"input_ids": tokens(), "attention_mask": mask, "labels": torch.randint(3, (4,))}


@MODELS.add("Llama", "next token")
def llama() -> Model:
    config = transformers.LlamaConfig(**SHAPE, **SPECIAL, num_key_value_heads=2, use_cache=False)
    return transformers.LlamaForCausalLM(config), language()


class LlamaStep(nn.Module):
    """Llama for one new token, with the library's static cache as buffers that are updated in place."""

    def __init__(self, batch: int, length: int) -> None:
        super().__init__()
        self.model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**SHAPE, **SPECIAL, num_key_value_heads=2)
        ).eval()
        config = self.model.config
        self.cache = transformers.StaticCache(config=config, max_cache_len=length)
        width = config.hidden_size // config.num_attention_heads
        self.cache.early_initialization(batch, config.num_key_value_heads, width, torch.float32, torch.device("cpu"))
        for number, layer in enumerate(self.cache.layers):
            self.register_buffer(f"keys_{number}", layer.keys)
            self.register_buffer(f"values_{number}", layer.values)

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        for number, layer in enumerate(self.cache.layers):
            layer.keys, layer.values = getattr(self, f"keys_{number}"), getattr(self, f"values_{number}")
            layer.cumulative_length = position[0].clone()
        return self.model(token, position_ids=position[None], past_key_values=self.cache, use_cache=True).logits


@MODELS.add("Mistral, with a sliding window", "next token")
def mistral() -> Model:
    """Attention looks back over six tokens."""
    config = transformers.MistralConfig(**SHAPE, **SPECIAL, num_key_value_heads=2, sliding_window=6, use_cache=False)
    return transformers.MistralForCausalLM(config), language()


@MODELS.add("Falcon, with one key head", "next token")
def falcon() -> Model:
    """One key and value head for all queries, attention beside the feed-forward network."""
    config = transformers.FalconConfig(
        **WIDTH, **SPECIAL, max_position_embeddings=16, hidden_dropout=0.0, attention_dropout=0.0, use_cache=False
    )
    return transformers.FalconForCausalLM(config), language()


@MODELS.add("ViT", "classification")
def vit() -> Model:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=16, patch_size=4, num_labels=3, **NO_DROPOUT,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    return model, {"pixel_values": torch.randn(4, 3, 16, 16), "labels": torch.randint(3, (4,))}


@CACHED.add("Llama, with the cache it makes by default", "next token")
def llama_with_cache() -> Model:
    config = transformers.LlamaConfig(**SHAPE, **SPECIAL, num_key_value_heads=2)
    return transformers.LlamaForCausalLM(config), language()


@CACHED.add("GPT-2, with the cache it makes by default", "next token")
def gpt2_with_cache() -> Model:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=32, n_layer=2, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **SPECIAL,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), language()


@CACHED.add("T5, with the caches it makes by default", "next token")
def t5_with_cache() -> Model:
    """Encoder and decoder, each with a cache of its own."""
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config), language()
