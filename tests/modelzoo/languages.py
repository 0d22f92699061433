"""Small language models of every kind in the zoo, with random weights, and PEFs that generate with them."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from compiler.driver import CompileRequest
from modelzoo.checkpoints.hugging_face import hollow
from modelzoo.generation.graphs import Profile, compile_generation

transformers.logging.set_verbosity_error()

VOCABULARY = 97
SHAPE = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
FEED = {"intermediate_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}

CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SHAPE, **FEED, **SPECIAL, num_key_value_heads=2),
    "mistral": lambda: transformers.MistralConfig(**SHAPE, **FEED, **SPECIAL, num_key_value_heads=2, sliding_window=7),
    "falcon": lambda: transformers.FalconConfig(
        **SHAPE, **SPECIAL, max_position_embeddings=64, initializer_range=0.2, hidden_dropout=0.0, attention_dropout=0.0
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip


def model(kind: str, dtype: torch.dtype = torch.float32, layers: int = 2) -> transformers.PreTrainedModel:
    """The same random weights every time."""
    torch.manual_seed(5)
    config = CONFIGS[kind]()
    config.dtype, config.num_hidden_layers = dtype, layers
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def generation_pef(
    config: transformers.PretrainedConfig, folder: Path, batch: int = 3, prefill: tuple[int, ...] = (4, 8)
) -> Path:
    """A PEF for prompts of `prefill` tokens at a time in sequences of 32, compiled without any weights."""
    profile = Profile(batch, 32, prefill, config.vocab_size)
    request = CompileRequest("generation", inference=True, output_folder=folder)
    return compile_generation(hollow(config), profile, request).pef_path
