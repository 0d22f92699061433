"""PyTorch's encoder leaves padding out when it infers, and returns zeros in its place: so does what is traced of it.

Eager PyTorch makes a nested tensor of sequences whose padding is at their ends, and pads the result. A trace takes the
other way, which attends to the same tokens, and computes something for the padding too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

_forward = nn.TransformerEncoder.forward


@contextmanager
def zeros_in_padding() -> Iterator[None]:
    """Encoders make no nested tensors, and return what they do with them."""
    with (
        patch.object(nn.TransformerEncoder, "forward", _without_nested_tensors),
        patch.object(torch, "_nested_tensor_from_mask_left_aligned", lambda *_: False),
    ):
        yield


def _without_nested_tensors(
    encoder: nn.TransformerEncoder,
    src: Tensor,
    mask: Tensor | None = None,
    src_key_padding_mask: Tensor | None = None,
    is_causal: bool | None = None,
) -> Any:
    """What the encoder returns, from every sequence without its padding if that is at the end. An encoder that does not
    check where it is counts it, and takes as many tokens from the end for it."""
    padding, hidden = src_key_padding_mask, None
    if padding is not None and mask is None and _makes_nested_tensors(encoder, src):
        hidden = padding != 0
        if getattr(encoder, "mask_check", True):
            hidden = hidden & (hidden[:, 1:] >= hidden[:, :-1]).all()
        else:
            padding = hidden = torch.arange(src.shape[1], device=src.device) >= (~hidden).sum(1, keepdim=True)
        src = src.masked_fill(hidden.unsqueeze(2), 0.0)
    norm = encoder.norm
    with patch.object(encoder, "mask_check", True), patch.object(encoder, "norm", None):
        result = _forward(encoder, src, mask, padding, is_causal)
    if hidden is not None:
        result = result.masked_fill(hidden.unsqueeze(2), 0.0)
    return result if norm is None else norm(result)


def _makes_nested_tensors(encoder: nn.TransformerEncoder, src: Tensor) -> bool:
    """Whether the eager encoder does, of sequences with padding."""
    if not torch.backends.mha.get_fastpath_enabled() or not getattr(encoder, "use_nested_tensor", False):
        return False
    first = encoder.layers[0]
    if first.training or src.dim() != 3 or torch.is_autocast_enabled():
        return False
    modules = (first.self_attn, first.norm1, first.norm2, first.linear1, first.linear2)
    learns = src.requires_grad or any(tensor.requires_grad for module in modules for tensor in module.parameters())
    return not (torch.is_grad_enabled() and learns)
