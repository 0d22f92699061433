"""DeepViT: a deep vision transformer whose heads are mixed anew in every layer.

After D. Zhou et al., "DeepViT: towards deeper vision transformer", 2021: attention maps of deep layers become alike;
re-attention multiplies them by a learnt matrix over the heads, and normalises the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelzoo.data.galaxies import KINDS
from modelzoo.entry import Entry, Size
from modelzoo.models.science.images import TINY_PIXELS, loss, recipe, samples
from modelzoo.models.science.vit import Layer, Patches


class ReAttention(nn.Module):
    """Self-attention whose maps [batch, heads, tokens, tokens] are mixed over the heads and normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mix = nn.Parameter(torch.eye(heads) + 0.02 * torch.randn(heads, heads))
        self.norm = nn.BatchNorm2d(heads)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        maps = torch.softmax(query @ key.transpose(2, 3) / query.shape[-1] ** 0.5, -1)
        mixed = self.norm((self.mix @ maps.flatten(2)).view_as(maps))
        return self.out((mixed @ value).transpose(1, 2).flatten(2))


class DeepViT(nn.Module):
    """Logits [batch, classes]."""

    def __init__(
        self, pixels: int, patch: int, channels: int, width: int, depth: int, heads: int, feed: int, classes: int
    ) -> None:
        super().__init__()
        self.patches = Patches(pixels, patch, channels, width)
        self.layers = nn.Sequential(*(Layer(ReAttention(width, heads), width, feed) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.patches(image))[:, 0]))


def _tiny() -> DeepViT:
    return DeepViT(TINY_PIXELS, 6, 1, 32, 4, 4, 64, len(KINDS))


ENTRY = Entry(
    name="deepvit",
    title="DeepViT",
    about="A vision transformer that gains from depth: attention heads are mixed anew in every layer.",
    source="D. Zhou et al., DeepViT: towards deeper vision transformer, 2021",
    sizes={
        "tiny": Size(_tiny, samples(TINY_PIXELS, 1), 32, "four layers of width 32, patches of 6 x 6"),
        "16b": Size(lambda: DeepViT(224, 16, 3, 384, 16, 12, 1152, 1000), samples(224, 3), 8, "DeepViT-16B"),
        "32b": Size(lambda: DeepViT(224, 16, 3, 384, 32, 12, 1152, 1000), samples(224, 3), 8, "DeepViT-32B"),
    },
    recipe=recipe(4, 5e-4, 0.7),
    loss=loss,
)
