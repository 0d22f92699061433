"""A small GPT for the examples, made from a configuration, and the character text it learns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT = "the quick brown fox jumps over the lazy dog. " * 40
LETTERS = sorted(set(TEXT))


@dataclass(frozen=True)
class Config:
    """Sizes of a GPT."""

    vocabulary: int = len(LETTERS)
    length: int = 32
    width: int = 64
    heads: int = 4
    layers: int = 2


class Attention(nn.Module):
    """Causal self-attention, over a whole sequence or one token after a cache."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.c_attn = nn.Linear(config.width, 3 * config.width)
        self.c_proj = nn.Linear(config.width, config.width)

    def project(self, x: Tensor) -> list[Tensor]:
        """Query, key and value [batch, heads, length, features]."""
        batch, length, width = x.shape
        parts = self.c_attn(x).split(width, 2)
        return [part.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for part in parts]

    def merge(self, heads: Tensor) -> Tensor:
        """Heads side by side again, and projected."""
        batch, count, length, features = heads.shape
        return self.c_proj(heads.transpose(1, 2).reshape(batch, length, count * features))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The result, and keys and values for a cache."""
        query, key, value = self.project(x)
        return self.merge(F.scaled_dot_product_attention(query, key, value, is_causal=True)), key, value

    def step(self, x: Tensor, keys: Tensor, values: Tensor, here: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One token [batch, 1, width]: `here` [length] is one at its position, and the cache gets its key and value."""
        query, key, value = self.project(x)
        at = here.view(1, 1, -1, 1)
        keys = keys * (1 - at) + key * at
        values = values * (1 - at) + value * at
        future = here.cumsum(0) - here
        scores = query @ keys.transpose(2, 3) * key.shape[-1] ** -0.5 - 1e9 * future.view(1, 1, 1, -1)
        return self.merge(torch.softmax(scores, -1) @ values), keys, values


class Block(nn.Module):
    """Attention and a feed-forward network, each with a layer norm before and a residual around."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.width)
        self.c_fc = nn.Linear(config.width, 4 * config.width)
        self.c_proj = nn.Linear(4 * config.width, config.width)

    def feed_forward(self, x: Tensor) -> Tensor:
        """x plus the network of it."""
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))


class GPT(nn.Module):
    """Embeddings, blocks, and a head that shares the embedding's weight. Returns per-token losses and logits."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocabulary, config.width)
        self.wpe = nn.Embedding(config.length, config.width)
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        self.criterion = nn.CrossEntropyLoss(reduction="none")
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.05)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Losses [batch * length] (only with labels) and logits [batch, length, vocabulary]."""
        logits, _ = self.encode(input_ids, position_ids)
        if labels is None:
            return (logits,)
        return self.criterion(logits.view(-1, logits.shape[-1]), labels.view(-1)), logits

    def encode(self, input_ids: Tensor, position_ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and keys and values of every layer."""
        x = self.wte(input_ids) + self.wpe(position_ids)
        caches: list[Tensor] = []
        for block in self.h:
            change, key, value = block.attn(block.ln_1(x))
            x = block.feed_forward(x + change)
            caches += [key, value]
        return self.lm_head(self.ln_f(x)), caches


def encode_text(text: str) -> Tensor:
    """Letters as numbers."""
    return torch.tensor([LETTERS.index(letter) for letter in text])


def decode_text(numbers: list[int]) -> str:
    """Numbers as letters."""
    return "".join(LETTERS[number] for number in numbers)
