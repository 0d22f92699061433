"""Model files of billions of parameters, which are never materialised: `snc check tests/zoo/large.py:gpt2_xl`."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor, nn

Model = tuple[nn.Module, dict[str, Tensor]]

transformers.logging.set_verbosity_error()


def gpt2_xl() -> Model:
    """1.6 billion parameters, for training on sequences of 1024 tokens."""
    config = transformers.GPT2Config(
        n_embd=1600, n_layer=48, n_head=25, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False
    )
    return _without_content(transformers.GPT2LMHeadModel, config, 4, 1024, labels=True)


def llama2_7b() -> Model:
    """6.7 billion parameters in bf16, for inference on 2048 tokens."""
    model, inputs = _without_content(transformers.LlamaForCausalLM, transformers.LlamaConfig(use_cache=False), 1, 2048)
    return model.bfloat16(), inputs


def _without_content(
    kind: type[nn.Module], config: transformers.PretrainedConfig, batch: int, length: int, labels: bool = False
) -> Model:
    ids = torch.zeros(batch, length, dtype=torch.int64)
    with torch.device("meta"):
        model = kind(config)
    return model, {"input_ids": ids, "labels": ids} if labels else {"input_ids": ids}
