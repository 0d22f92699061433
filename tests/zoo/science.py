"""Models as scientific codes have them: several tasks at once, graphs over time, recurrent cells, fixed transforms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.entry import Entries, Model

MODELS = Entries("tests/zoo/science.py")


class MultiTask(nn.Module):
    """Two feature towers into a shared residual trunk, with a regression and a classification head."""

    def __init__(self, cell: int = 24, drug: int = 40, width: int = 32) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(cell, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.drug = nn.Sequential(nn.Linear(drug, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.trunk = nn.ModuleList(nn.Linear(2 * width + 1, 2 * width + 1) for _ in range(3))
        self.growth = nn.Linear(2 * width + 1, 1)
        self.kind = nn.Linear(width, 4)

    def forward(self, cell: Tensor, drug: Tensor, dose: Tensor, growth: Tensor, kind: Tensor) -> tuple[Tensor, ...]:
        features = self.cell(cell)
        x = torch.cat([features, self.drug(drug), dose], 1)
        for layer in self.trunk:
            x = x + F.relu(layer(x))
        predicted, logits = self.growth(x), self.kind(features)
        return F.mse_loss(predicted, growth) + 0.5 * F.cross_entropy(logits, kind), predicted, logits


class DiffusionCell(nn.Module):
    """A GRU cell whose products are diffusion convolutions over a fixed graph: sums over steps of random walks."""

    def __init__(self, nodes: int, features: int, hidden: int, steps: int = 2) -> None:
        super().__init__()
        weights = torch.rand(nodes, nodes)
        self.register_buffer("walk", weights / weights.sum(1, keepdim=True))
        self.steps = steps
        self.gates = nn.Linear((features + hidden) * (steps + 1), 2 * hidden)
        self.candidate = nn.Linear((features + hidden) * (steps + 1), hidden)

    def diffused(self, x: Tensor) -> Tensor:
        walks = [x]
        for _ in range(self.steps):
            walks.append(self.walk @ walks[-1])
        return torch.cat(walks, -1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        reset, update = torch.sigmoid(self.gates(self.diffused(torch.cat([x, state], -1)))).chunk(2, -1)
        candidate = torch.tanh(self.candidate(self.diffused(torch.cat([x, reset * state], -1))))
        return update * state + (1 - update) * candidate


class DiffusionRecurrent(nn.Module):
    """A diffusion-convolution cell unrolled over time, which then predicts some steps from its own outputs."""

    def __init__(self, nodes: int = 6, hidden: int = 8, horizon: int = 2) -> None:
        super().__init__()
        self.hidden, self.horizon = hidden, horizon
        self.encoder = DiffusionCell(nodes, 2, hidden)
        self.decoder = DiffusionCell(nodes, 2, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, history: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        state = history.new_zeros(history.size(0), history.size(2), self.hidden)
        for step in history.unbind(1):
            state = self.encoder(step, state)
        x, predicted = torch.zeros_like(history[:, 0]), []
        for _ in range(self.horizon):
            state = self.decoder(x, state)
            x = self.out(state)
            predicted.append(x)
        result = torch.stack(predicted, 1)
        return F.l1_loss(result, future), result


class Recurrent(nn.Module):
    """PyTorch's own recurrent layers, classifying a sequence by its last state."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], features: int = 10, hidden: int = 12, classes: int = 3) -> None:
        super().__init__()
        self.recurrent = kind(features, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, sequence: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(self.recurrent(sequence)[0][:, -1])
        return F.cross_entropy(logits, label), logits


class CosineTransform(nn.Module):
    """Blockwise compression by constant matrices: cosine transform, coefficients scaled, and back."""

    def __init__(self, size: int = 8, kept: int = 4) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        matrix = torch.cos(math.pi * (2 * columns + 1) * rows / (2 * size)) * math.sqrt(2 / size)
        matrix[0] /= math.sqrt(2)
        self.register_buffer("matrix", matrix[:kept].clone())
        self.size = size
        self.gain = nn.Parameter(torch.rand(kept, kept))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        batch, height, width = image.shape
        blocks = image.reshape(batch, height // self.size, self.size, width // self.size, self.size).transpose(2, 3)
        coefficients = self.matrix @ blocks @ self.matrix.T * self.gain
        restored = (self.matrix.T @ coefficients @ self.matrix).transpose(2, 3).reshape(image.shape)
        return F.mse_loss(restored, image), coefficients


class SpectralConv(nn.Module):
    """Complex weights for the lowest frequencies of a signal, zeros for the others."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(channels, channels, modes, dtype=torch.complex64) / channels)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        low = torch.einsum("bim,iom->bom", spectrum[..., : self.modes], self.weight)
        return torch.fft.irfft(F.pad(low, (0, spectrum.shape[-1] - self.modes)), n=x.shape[-1])


class FourierOperator(nn.Module):
    """A Fourier neural operator: spectral convolutions beside pointwise ones."""

    def __init__(self, channels: int = 8, modes: int = 5, depth: int = 2) -> None:
        super().__init__()
        self.lift = nn.Conv1d(2, channels, 1)
        self.spectral = nn.ModuleList(SpectralConv(channels, modes) for _ in range(depth))
        self.pointwise = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(depth))
        self.project = nn.Conv1d(channels, 1, 1)

    def forward(self, field: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.linspace(0, 1, field.shape[-1]).expand_as(field)
        x = self.lift(torch.cat([field, place], 1))
        for spectral, pointwise in zip(self.spectral, self.pointwise):
            x = F.gelu(spectral(x) + pointwise(x))
        result = self.project(x)
        return F.mse_loss(result, target), result


class PhaseRetrieval(nn.Module):
    """Amplitude and phase of an object from its diffraction pattern, checked by diffracting what was found.

    A phase that is the same everywhere leaves no trace in the pattern: the phase has no bias to learn.
    """

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.amplitude, self.phase = (
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(width, 1, 3, padding=1, bias=learned))
            for learned in (True, False)
        )

    def forward(self, pattern: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.encoder(pattern)
        amplitude = torch.sigmoid(self.amplitude(features))
        phase = torch.tanh(self.phase(features)) * math.pi
        wave = torch.complex(amplitude * torch.cos(phase), amplitude * torch.sin(phase))
        diffracted = torch.fft.fftshift(torch.fft.fft2(wave, norm="ortho"), dim=(-2, -1)).abs()
        return F.l1_loss(diffracted, pattern), amplitude, phase


@MODELS.add("Fourier neural operator", "regression; complex weights")
def fourier() -> Model:
    return FourierOperator(), {"field": torch.randn(4, 1, 24), "target": torch.randn(4, 1, 24)}


@MODELS.add("phase retrieval, after AutoPhaseNN", "the diffraction of what it finds")
def phase() -> Model:
    return PhaseRetrieval(), {"pattern": torch.rand(4, 1, 8, 12)}


@MODELS.add("multi-task network", "regression and classification at once")
def multitask() -> Model:
    return MultiTask(), {
        "cell": torch.randn(16, 24), "drug": torch.randn(16, 40), "dose": torch.rand(16, 1),
        "growth": torch.randn(16, 1), "kind": torch.randint(4, (16,)),
    }  # fmt: skip


@MODELS.add("diffusion-convolution recurrent network", "a series over a fixed graph, unrolled")
def diffusion() -> Model:
    return DiffusionRecurrent(), {"history": torch.randn(4, 3, 6, 2), "future": torch.randn(4, 2, 6, 2)}


@MODELS.add("LSTM", "classification of sequences")
def lstm() -> Model:
    return Recurrent(nn.LSTM), {"sequence": torch.randn(8, 4, 10), "label": torch.randint(3, (8,))}


@MODELS.add("GRU", "classification of sequences")
def gru() -> Model:
    return Recurrent(nn.GRU), {"sequence": torch.randn(8, 4, 10), "label": torch.randint(3, (8,))}


@MODELS.add("cosine transform", "the image, by constant matrices around a trained gain")
def cosine() -> Model:
    return CosineTransform(), {"image": torch.randn(4, 16, 24)}
