"""Keys and values of past tokens, kept on the device in buffers of a fixed length and written in place.

Every row of a batch is at a position of its own, so that rows can begin and end at different times. The last place of
a row is never read by a token that matters: rows that take no part in a run write there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

NAME = "cache"
"""Of the module that holds the buffers, within the model."""


class KeyValueCache(nn.Module):
    """The buffers of all layers: keys and values [rows, heads, length, width of a head] in the model's element type."""

    def __init__(self, model: PreTrainedModel, rows: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.layers = 0
        for heads, key_width, value_width in layer_shapes(model.config):
            for what, width in (("keys", key_width), ("values", value_width)):
                buffer = torch.zeros(rows, heads, length, width, dtype=model.dtype, device=model.device)
                self.register_buffer(f"{what}_{self.layers}", buffer, persistent=False)
            self.layers += 1

    def at(self, position: Tensor) -> Cache:
        """The cache as transformers takes it, for new tokens at `position` [rows, tokens]."""
        pairs = ((getattr(self, f"keys_{i}"), getattr(self, f"values_{i}")) for i in range(self.layers))
        return Cache(layers=[_PositionedLayer(keys, values, position) for keys, values in pairs])


class _PositionedLayer(CacheLayerMixin):
    """One layer's buffers, written where each row's new tokens stand."""

    def __init__(self, keys: Tensor, values: Tensor, position: Tensor) -> None:
        super().__init__()
        self.keys, self.values, self.position = keys, values, position
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write new keys and values [rows, heads, tokens, width]; returns everything."""
        return self.written(self.keys, key_states), self.written(self.values, value_states)

    def written(self, buffer: Tensor, new: Tensor) -> Tensor:
        rows, heads, length, width = buffer.shape
        first = torch.arange(rows * heads, device=new.device).view(rows, heads, 1) * length
        places = (first + self.position[:, None, :]).flatten()
        buffer.view(rows * heads * length, width).index_copy_(0, places, new.reshape(-1, width))
        return buffer

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """The buffers are there from the start."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """All places count as keys; the mask that is passed says which of them are seen."""
        return self.keys.shape[2], 0

    def get_seq_length(self) -> int:
        """Positions are given, not counted."""
        return 0

    def get_max_length(self) -> int:
        """Places of a row."""
        return int(self.keys.shape[2])


def layer_shapes(config: PretrainedConfig) -> list[tuple[int, int, int]]:
    """Heads, and widths of a key and a value, of every layer: what the model itself puts into a cache."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        cache = DynamicCache()
        model(input_ids=torch.zeros(1, 1, dtype=torch.int64), cache=cache, use_cache=True)
    return [(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]) for layer in cache.layers]


def seen(position: Tensor, length: int, window: int | None) -> Tensor:
    """Which of `length` places tokens at `position` [rows, tokens] attend to, as a mask [rows, 1, tokens, length]."""
    places = torch.arange(length, device=position.device)
    distance = position[:, None, :, None] - places
    mask = distance >= 0
    return mask if window is None else mask & (distance < window)
