"""A decoder that generates token by token: its keys and values stay on the device, in buffers updated in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CachedAttention(nn.Module):
    """Attention of new tokens to all before them. `keys` and `values` are [batch, heads, length, width of a head]."""

    def __init__(self, batch: int, length: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.register_buffer("keys", torch.zeros(batch, heads, length, width // heads))
        self.register_buffer("values", torch.zeros(batch, heads, length, width // heads))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """`position` [tokens] says where in the sequence the tokens of x [batch, tokens, width] stand."""
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        self.keys.index_copy_(2, position, key)
        self.values.index_copy_(2, position, value)
        seen = torch.arange(self.keys.size(2), device=x.device) <= position[:, None]
        y = F.scaled_dot_product_attention(query, self.keys, self.values, attn_mask=seen)
        return self.out(y.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Decoder(nn.Module):
    """Layers of cached attention and feed-forward networks, from token numbers to logits."""

    def __init__(self, batch: int, length: int, vocabulary: int = 31, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.attention = nn.ModuleList(CachedAttention(batch, length, width, 2) for _ in range(depth))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.head = nn.Linear(width, vocabulary)

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        x = self.tokens(token) + self.positions(position)
        for attention, feed in zip(self.attention, self.feed):
            x = x + attention(x, position)
            x = x + feed(x)
        return self.head(x)
