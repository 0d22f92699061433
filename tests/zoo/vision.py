"""Image models: a residual network, U-Nets in two and three dimensions, an auto-encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.entry import Entries, Model

MODELS = Entries("tests/zoo/vision.py")


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, or beside a 1x1 convolution where the size changes."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        same = stride == 1 and inside == outside
        self.short = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.short(x))


class ResNet(nn.Module):
    """A small residual network with its loss."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(ResidualBlock(width, width, 1), ResidualBlock(width, 2 * width, 2))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        features = self.blocks(self.pool(self.stem(image)))
        logits = self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return F.cross_entropy(logits, label), logits


class UNet(nn.Module):
    """Down, up, and across: transposed convolutions widen what the contracting path hands over beside them."""

    def __init__(self, dims: int, channels: int, width: int = 4) -> None:
        super().__init__()
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)

        def double(inside: int, outside: int) -> nn.Sequential:
            return nn.Sequential(conv(inside, outside, 3, padding=1), nn.ReLU(), conv(outside, outside, 3, padding=1))

        self.down1, self.down2 = double(channels, width), double(width, 2 * width)
        self.bottom = double(2 * width, 4 * width)
        self.up2, self.merge2 = up(4 * width, 2 * width, 2, 2), double(4 * width, 2 * width)
        self.up1, self.merge1 = up(2 * width, width, 2, 2), double(2 * width, width)
        self.head = conv(width, 1, 1)

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = F.relu(self.down1(image))
        second = F.relu(self.down2(self.pool(first)))
        bottom = F.relu(self.bottom(self.pool(second)))
        third = F.relu(self.merge2(torch.cat([self.up2(bottom), second], 1)))
        logits = self.head(F.relu(self.merge1(torch.cat([self.up1(third), first], 1))))
        return F.binary_cross_entropy_with_logits(logits, mask), logits


class AutoEncoder(nn.Module):
    """Strided convolutions into a code, transposed ones out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 12, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(192, 10)
        )
        self.decoder = nn.Sequential(
            nn.Linear(10, 192), nn.ReLU(), nn.Unflatten(1, (12, 4, 4)), nn.ConvTranspose2d(12, 6, 3, 2, 1, 1),
            nn.ReLU(), nn.ConvTranspose2d(6, 1, 3, 2, 1, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        restored = self.decoder(self.encoder(image))
        return F.mse_loss(restored, image), restored


@MODELS.add("ResNet, with batch normalisation", "classification")
def resnet() -> Model:
    return ResNet(), {"image": torch.randn(8, 3, 16, 16), "label": torch.randint(5, (8,))}


@MODELS.add("U-Net in two dimensions", "a mask")
def unet2d() -> Model:
    return UNet(2, 3), {"image": torch.randn(4, 3, 16, 16), "mask": torch.rand(4, 1, 16, 16).round()}


@MODELS.add("U-Net in three dimensions", "a mask")
def unet3d() -> Model:
    return UNet(3, 1), {"image": torch.randn(2, 1, 8, 8, 8), "mask": torch.rand(2, 1, 8, 8, 8).round()}


@MODELS.add("auto-encoder of transposed convolutions", "the image")
def autoencoder() -> Model:
    return AutoEncoder(), {"image": torch.rand(8, 1, 16, 16)}
