"""PyTorch's encoder leaves padding out when it infers, and returns zeros in its place: so does what is traced of it.

Eager PyTorch makes a nested tensor of sequences whose padding is at their ends, and pads the result. A trace takes the
other way, which attends to the same tokens, and computes something for the padding too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook


@contextmanager
def zeros_in_padding(model: nn.Module, enabled: bool) -> Iterator[None]:
    """Encoders within `model` make no nested tensors; where `enabled`, they return what they do with them."""
    encoders = [module for module in model.modules() if isinstance(module, nn.TransformerEncoder) and module.layers]
    with patch.object(torch, "_nested_tensor_from_mask_left_aligned", lambda *_: False), ExitStack() as checked:
        for encoder in encoders:
            checked.enter_context(patch.object(encoder, "mask_check", True))
        if not enabled or not encoders or not torch.backends.mha.get_fastpath_enabled():
            yield
            return
        with _hooked(encoders):
            yield


@contextmanager
def _hooked(encoders: list[nn.TransformerEncoder]) -> Iterator[None]:
    """The last layer of each returns zeros in padding."""
    last = {encoder.layers[-1]: encoder for encoder in encoders}

    def hook(layer: nn.Module, _: Any, given: Mapping[str, Any], result: Tensor) -> Tensor | None:
        encoder = last.get(layer)
        return None if encoder is None else _with_zeros(encoder, given, result)

    handle = register_module_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _with_zeros(encoder: nn.TransformerEncoder, given: Mapping[str, Any], result: Tensor) -> Tensor | None:
    """The result of an encoder's last layer as the fast path has it; None where that is not taken."""
    mask = given.get("src_key_padding_mask")  # of numbers by now: not zero where there is padding
    nested = getattr(encoder, "use_nested_tensor", False) and not encoder.layers[0].training
    if not nested or mask is None or given.get("src_mask") is not None or result.dim() != 3:
        return None
    if torch.is_grad_enabled() or torch.is_autocast_enabled():
        return None
    padding = mask != 0
    at_the_end = (padding[:, 1:] >= padding[:, :-1]).all()
    return result.masked_fill((padding & at_the_end).unsqueeze(2), 0.0)
