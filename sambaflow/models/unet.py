"""A U-Net for segmentation, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Convolutions(nn.Sequential):  # type: ignore[misc]
    """Two convolutions, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers)


class UNet(nn.Module):  # type: ignore[misc]
    """From images [batch, in_channels, height, width] to logits [batch, num_classes, height, width]; `out_channels` is
    another name of num_classes.

    Height and width are multiples of 2 ** depth; each level down halves them and doubles the channels.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        channels: int = 32,
        depth: int = 4,
        *,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        num_classes = num_classes if out_channels is None else out_channels
        widths = [channels * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(_Convolutions(a, b) for a, b in zip([in_channels, *widths], widths))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(_Convolutions(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.head = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        levels = [self.down[0](x)]
        for convolutions in self.down[1:]:
            levels.append(convolutions(self.pool(levels[-1])))
        x = levels.pop()
        for convolutions in self.up:
            wide = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = convolutions(torch.cat([wide, levels.pop()], 1))
        return self.head(x)
