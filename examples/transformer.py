"""A small causal language model: a stack of pre-norm transformer blocks.

    snc compile examples/transformer.py -b 8

Each block is x + attention(norm(x)), then x + mlp(norm(x)). All blocks have one structure, so they are compiled once.
`transformer.py:tiny` is a model of the same kind that compiles and runs in a moment.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 1000
LENGTH = 64


class Attention(nn.Module):
    """Multi-head attention in which each position sees itself and those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix positions of x [batch, length, width]."""
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(width, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform x [batch, length, width]."""
        x = x + self.attn(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Predicts each next token; returns the loss and the logits."""

    def __init__(
        self, vocabulary: int = VOCABULARY, length: int = LENGTH, width: int = 128, heads: int = 4, depth: int = 4
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits [batch, length, vocabulary] of tokens and next tokens [batch, length]."""
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits = self.head(self.norm(x))
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return loss, logits


model = Transformer


def inputs(batch_size: int = 8) -> dict[str, Tensor]:
    """Random text."""
    return _text(batch_size, LENGTH, VOCABULARY)


def optimizer(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW as usual for language models."""
    return torch.optim.AdamW(parameters, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)


max_grad_norm = 1.0


class tiny:
    """Two narrow blocks."""

    optimizer = staticmethod(optimizer)
    max_grad_norm = max_grad_norm

    @staticmethod
    def model() -> Transformer:
        """The model."""
        return Transformer(vocabulary=50, length=12, width=32, heads=2, depth=2)

    @staticmethod
    def inputs(batch_size: int = 4) -> dict[str, Tensor]:
        """Random text."""
        return _text(batch_size, 12, 50)


def _text(batch_size: int, length: int, vocabulary: int) -> dict[str, Tensor]:
    text = torch.randint(vocabulary, (batch_size, length + 1))
    return {"tokens": text[:, :-1].contiguous(), "targets": text[:, 1:].contiguous()}
