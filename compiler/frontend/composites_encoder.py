"""The host's fused operators of self-attention and of an encoder layer, which PyTorch's modules call when they infer.

What they compute differs from the modules in training: a mask of numbers masks wherever it is not zero, and a row
whose mask leaves it nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten

OF_KEYS = 1
"""The type of a mask of [sequences, keys]; those of other types have the queries too, and maybe all axes."""


def self_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Attention of [sequences, length, features] to itself, and its weights where they are asked for."""
    packed = functional.linear(query, qkv_weight, qkv_bias).unflatten(2, (3, num_head, embed_dim // num_head))
    queries, keys, values = packed.permute(2, 0, 3, 1, 4).unbind(0)
    scores = queries @ keys.transpose(-2, -1) * (embed_dim // num_head) ** -0.5
    if mask is not None:
        is_hidden = mask != 0
        if mask_type == OF_KEYS:
            is_hidden = is_hidden[:, None, None]
        scores = torch.where(is_hidden, float("-inf"), scores)
    weights = torch.softmax(scores, -1)
    mixed = (weights @ values).transpose(1, 2).flatten(2)
    result = functional.linear(mixed, proj_weight, proj_bias)
    if not need_weights:
        return result, None
    return result, weights.mean(1) if average_attn_weights else weights


def encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """An encoder layer: attention and a network of two layers, each normalised before or after."""

    def attended(x: Tensor) -> Tensor:
        weights = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return self_attention(x, x, x, embed_dim, num_heads, *weights, mask, False, True, mask_type)[0]

    def fed_forward(x: Tensor) -> Tensor:
        hidden = functional.linear(x, ffn_weight_1, ffn_bias_1)
        hidden = functional.gelu(hidden) if use_gelu else functional.relu(hidden)
        return functional.linear(hidden, ffn_weight_2, ffn_bias_2)

    def normalised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.layer_norm(x, (embed_dim,), weight, bias, eps)

    if norm_first:
        x = src + attended(normalised(src, norm_weight_1, norm_bias_1))
        return x + fed_forward(normalised(x, norm_weight_2, norm_bias_2))
    x = normalised(src + attended(src), norm_weight_1, norm_bias_1)
    return normalised(x + fed_forward(x), norm_weight_2, norm_bias_2)


ENCODER: dict[Any, Callable[..., Any]] = {
    aten._native_multi_head_attention.default: self_attention,
    aten._transformer_encoder_layer_fwd.default: encoder_layer,
}
