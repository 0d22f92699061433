"""AutoPhaseNN: the three-dimensional image of a crystal from its diffraction pattern alone, learnt without images.

After Y. Yao et al., "AutoPhaseNN: unsupervised physics-aware deep learning of 3D nanoscale Bragg coherent diffraction
imaging", 2022: an encoder, a decoder each for amplitude and phase, and a Fourier transform that says what such an
object would scatter; the loss compares that with the measurement. The transform is written as products with matrices
of cosines and sines, axis by axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.data.diffraction import diffraction
from modelzoo.entry import Arrays, Entry, Outputs, Quality, Recipe, Size, Tensors, split
from modelzoo.optimizers import adamw

TINY, FULL = 16, 64
"""Voxels along an edge."""
SLOPE = 0.01


def double(inside: int, outside: int) -> nn.Sequential:
    """Two convolutions of width 3."""
    return nn.Sequential(
        nn.Conv3d(inside, outside, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv3d(outside, outside, 3, padding=1),
        nn.LeakyReLU(SLOPE),
    )


class AutoPhaseNN(nn.Module):
    """Amplitudes [batch, 1, size, size, size] of what the object found scatters, scaled to a largest of one.

    The object fills the middle half along each axis: the decoder makes that half, the rest is empty.
    """

    def __init__(self, size: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.encoder = nn.Sequential()
        for inside, outside in zip([1, *widths], widths):
            self.encoder.extend([double(inside, outside), nn.MaxPool3d(2)])
        self.amplitude, self.phase = self.decoder(widths), self.decoder(widths)
        angle = 2 * math.pi / size * torch.outer(torch.arange(size) - size // 2, torch.arange(size) - size // 2)
        self.register_buffer("cosines", torch.cos(angle))
        self.register_buffer("sines", torch.sin(angle))
        self.margin = size // 4

    def decoder(self, widths: list[int]) -> nn.Sequential:
        """From the code up to half the size of the measurement."""
        layers: list[nn.Module] = []
        narrower = [*widths[-2::-1], widths[0]]
        for inside, outside in list(zip(widths[::-1], narrower))[:-1]:
            layers += [double(inside, outside), nn.Upsample(scale_factor=2)]
        return nn.Sequential(*layers, nn.Conv3d(widths[0], 1, 3, padding=1))

    def forward(self, amplitude: Tensor) -> Tensor:
        code = self.encoder(amplitude)
        size, turn = torch.sigmoid(self.amplitude(code)), math.pi * torch.tanh(self.phase(code))
        pad = (self.margin,) * 6
        real, imaginary = (F.pad(part, pad) for part in (size * torch.cos(turn), size * torch.sin(turn)))
        for _ in range(3):
            real, imaginary = self.transformed(real, imaginary)
        found = torch.sqrt(real**2 + imaginary**2 + 1e-12)
        return found / found.amax((1, 2, 3, 4), keepdim=True)

    def transformed(self, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
        """The Fourier transform along the last axis, which then comes before the other two."""
        across = real @ self.cosines + imaginary @ self.sines, imaginary @ self.cosines - real @ self.sines
        return across[0].movedim(-1, 2), across[1].movedim(-1, 2)


def _samples(size: int) -> Callable[[int, int | None], tuple[Tensors, Tensors]]:
    def of(batch: int, length: int | None) -> tuple[Tensors, Tensors]:
        pattern = torch.zeros(batch, 1, size, size, size)
        return {"amplitude": pattern}, {"measured": pattern.clone()}

    return of


def _data(seed: int) -> tuple[Arrays, Arrays]:
    found = diffraction(160, TINY, seed)
    return split({**found, "measured": found["amplitude"]}, 32)


def _error(outputs: Outputs, test: Arrays) -> float:
    return float(abs(outputs["output"] - test["measured"]).sum() / test["measured"].sum())


ENTRY = Entry(
    name="autophasenn",
    title="AutoPhaseNN",
    about="Finds the shape and strain of a nanocrystal from its X-ray diffraction pattern, without labelled examples.",
    source="Y. Yao et al., AutoPhaseNN: unsupervised physics-aware deep learning of 3D nanoscale Bragg coherent "
    "diffraction imaging, 2022",
    sizes={
        "tiny": Size(lambda: AutoPhaseNN(TINY, 6, 2), _samples(TINY), 8, "two levels, 16 voxels an edge"),
        "full": Size(lambda: AutoPhaseNN(FULL, 32, 4), _samples(FULL), 8, "four levels, 64 voxels an edge"),
    },
    recipe=Recipe(
        data=_data,
        optimizer=adamw(1e-3),
        epochs=4,
        quality=Quality("amplitude that is scattered wrongly, of all", _error, 0.6, "%"),
    ),
    loss=lambda output, measured: F.l1_loss(output, measured) * 10,
)
