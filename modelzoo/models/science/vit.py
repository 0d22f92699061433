"""ViT: an image as a sequence of patches.

After A. Dosovitskiy et al., "An image is worth 16x16 words", 2020: patches become vectors by one product, a class
vector goes before them, and pre-normalised transformer layers follow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.galaxies import KINDS
from modelzoo.entry import Entry, Size
from modelzoo.models.science.images import TINY_PIXELS, loss, recipe, samples


class Attention(nn.Module):
    """Self-attention of several heads over [batch, tokens, width]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a feed-forward network, each normalised before and added to what went in."""

    def __init__(self, attention: nn.Module, width: int, feed: int) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), attention, nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, feed), nn.GELU(), nn.Linear(feed, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class Patches(nn.Module):
    """Images [batch, channels, pixels, pixels] as tokens [batch, 1 + patches, width], the class token first."""

    def __init__(self, pixels: int, patch: int, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, patch, patch)
        self.kind = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, 1 + (pixels // patch) ** 2, width) * 0.02)

    def forward(self, image: Tensor) -> Tensor:
        x = self.project(image).flatten(2).transpose(1, 2)
        return torch.cat([self.kind.expand(len(x), -1, -1), x], 1) + self.places


class ViT(nn.Module):
    """Logits [batch, classes]."""

    def __init__(
        self, pixels: int, patch: int, channels: int, width: int, depth: int, heads: int, feed: int, classes: int
    ) -> None:
        super().__init__()
        self.patches = Patches(pixels, patch, channels, width)
        self.layers = nn.Sequential(*(Layer(Attention(width, heads), width, feed) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.patches(image))[:, 0]))


def _tiny() -> ViT:
    return ViT(TINY_PIXELS, 4, 1, 32, 2, 4, 64, len(KINDS))


ENTRY = Entry(
    name="vit",
    title="ViT",
    about="Classifies images as sequences of patches.",
    source="A. Dosovitskiy et al., An image is worth 16x16 words, 2020",
    sizes={
        "tiny": Size(_tiny, samples(TINY_PIXELS, 1), 32, "two layers of width 32, patches of 4 x 4"),
        "base": Size(lambda: ViT(224, 16, 3, 768, 12, 12, 3072, 1000), samples(224, 3), 8, "ViT-B/16"),
        "large": Size(lambda: ViT(224, 16, 3, 1024, 24, 16, 4096, 1000), samples(224, 3), 8, "ViT-L/16"),
    },
    recipe=recipe(8, 1e-3, 0.75),
    loss=loss,
)
