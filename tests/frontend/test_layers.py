"""Layers and losses that PyTorch computes with operators of their own: training and inference equal PyTorch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import UnsupportedError
from tests.frontend.reference import compare_inference, compare_training, run

HERE = Path(__file__)


class Layered(nn.Module):
    """A layer, and a loss of its result."""

    def __init__(self, layer: nn.Module, *tables: Tensor) -> None:
        super().__init__()
        self.layer = layer
        for number, table in enumerate(tables):
            self.register_buffer(f"table_{number}", table)

    def forward(self, *x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(*x, *self.buffers(recurse=False))
        return y.pow(2).mean(), y


class Applied(nn.Module):
    """A function of a linear layer's result and further inputs."""

    def __init__(self, function: Callable[..., Tensor], features: int = 3, outputs: int = 5) -> None:
        super().__init__()
        self.fc = nn.Linear(features, outputs)
        self.function = function

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        return self.function(self.fc(x), *rest)


def bag(mode: str, *, padding_idx: int | None = None, last: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Bags of which one is empty, and rows of which one occurs twice."""
    layer = nn.EmbeddingBag(10, 4, mode=mode, padding_idx=padding_idx, include_last_offset=last)
    offsets = torch.tensor([0, 3, 3, 8, *([12] if last else [])])
    return Layered(layer, offsets), (torch.tensor([1, 2, 2, 9, 0, 4, 4, 7, 1, 1, 2, 3]),)


class Weighted(nn.Module):
    """Bags of fixed length, as recommendation models have them, with a weight for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(10, 4, mode="sum") for _ in range(2))
        self.top = nn.Linear(9, 1)

    def forward(self, x: Tensor, first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
        features = [bag(index, per_sample_weights=weights) for bag, index in zip(self.bags, (first, second))]
        return self.top(torch.cat([x, *features], 1)).sigmoid().mean()


def weighted() -> tuple[nn.Module, tuple[Tensor, ...]]:
    indices = torch.randint(10, (2, 6, 3))
    return Weighted(), (torch.randn(6, 1), indices[0], indices[1], torch.rand(6, 3))


class Fractional(nn.Module):
    """Fractional pooling whose windows are given; the places are compared too."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.conv = (nn.Conv2d if axes == 2 else nn.Conv3d)(3, 3, 1)
        self.pool = F.fractional_max_pool2d if axes == 2 else F.fractional_max_pool3d
        self.register_buffer("samples", torch.rand(2, 3, axes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, place = self.pool(self.conv(x), 2, output_size=4, _random_samples=self.samples, return_indices=True)
        return y.pow(2).mean(), y, place


def resized(mode: str, size: tuple[int, int], align: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    resize = partial(F.interpolate, size=size, mode=mode, antialias=True, align_corners=align)
    return Layered(nn.Sequential(nn.Conv2d(3, 3, 1), Called(resize))), (torch.randn(2, 3, 9, 11),)


class Called(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(*x)


class Centered(nn.Module):
    """Keeps a running mean, assigned in place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        if self.training:
            with torch.no_grad():
                self.mean.copy_(0.9 * self.mean + 0.1 * y.mean(0))
        return (y - self.mean).pow(2).mean()


LABELS = torch.tensor([[1, 1, 2, 3], [5, 4, 1, 1], [2, 2, 5, 1]])

CASES: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]] = {
    "weight_norm": lambda: (Layered(parametrizations.weight_norm(nn.Linear(4, 6))), (torch.randn(5, 4),)),
    "weight_norm_conv": lambda: (
        Layered(parametrizations.weight_norm(nn.Conv1d(4, 6, 3), dim=1)), (torch.randn(5, 4, 8),)
    ),
    "bilinear": lambda: (Layered(nn.Bilinear(3, 4, 5)), (torch.randn(6, 3), torch.randn(6, 4))),
    "bilinear_deep": lambda: (Layered(nn.Bilinear(3, 4, 5, bias=False)), (torch.randn(2, 6, 3), torch.randn(2, 6, 4))),
    "bag_sum": lambda: bag("sum"),
    "bag_mean": lambda: bag("mean", padding_idx=2),
    "bag_mean_from_the_end": lambda: bag("mean", padding_idx=-8),
    "bag_max": lambda: bag("max", last=True),
    "bag_weighted": weighted,
    "embedding_by_frequency": lambda: (
        Layered(nn.Embedding(10, 4, scale_grad_by_freq=True)), (torch.randint(10, (3, 7)),)
    ),
    "fractional_pool_2d": lambda: (Fractional(2), (torch.randn(2, 3, 9, 10),)),
    "fractional_pool_3d": lambda: (Fractional(3), (torch.randn(2, 3, 7, 9, 8),)),
    "bicubic_smaller": lambda: resized("bicubic", (5, 7)),
    "bicubic_larger": lambda: resized("bicubic", (13, 12), align=True),
    "bilinear_smaller": lambda: resized("bilinear", (4, 13)),
    "lgamma": lambda: (Applied(lambda x: torch.lgamma(F.softplus(x) + 0.1).mean()), (torch.randn(6, 3),)),
    "lgamma_below_zero": lambda: (Applied(lambda x: torch.lgamma(x - 3).tanh().mean()), (torch.rand(6, 3),)),
    "digamma": lambda: (Applied(lambda x: torch.digamma(F.softplus(x) + 0.1).mean()), (torch.randn(6, 3),)),
    "polygamma": lambda: (Applied(lambda x: torch.polygamma(2, F.softplus(x) + 0.3).mean()), (torch.randn(6, 3),)),
    "spectral_norm": lambda: (Layered(parametrizations.spectral_norm(nn.Linear(4, 6))), (torch.randn(5, 4),)),
    "spectral_norm_conv": lambda: (
        Layered(nn.utils.spectral_norm(nn.Conv2d(3, 6, 3))), (torch.randn(2, 3, 6, 6),)
    ),
    "running_mean": lambda: (Centered(), (torch.randn(5, 4),)),
    "gaussian_nll": lambda: (
        Applied(lambda y, t: F.gaussian_nll_loss(y[:, :2], t, F.softplus(y[:, 2:]), full=True), outputs=4),
        (torch.randn(6, 3), torch.randn(6, 2)),
    ),
    "ctc": lambda: (
        Applied(lambda y, t, n, m: F.ctc_loss(y.log_softmax(-1), t, n, m), 5, 7),
        (torch.randn(9, 3, 5), LABELS, torch.tensor([9, 8, 7]), torch.tensor([4, 2, 3])),
    ),
    "ctc_given_lengths": lambda: (
        Applied(lambda y, t: F.ctc_loss(y.log_softmax(-1), t, (9, 8, 7), (4, 0, 3), blank=6, reduction="sum"), 5, 7),
        (torch.randn(9, 3, 5), LABELS),
    ),
    "ctc_labels_in_a_row": lambda: (
        Applied(lambda y, t: F.ctc_loss(y.log_softmax(-1), t[0], (9, 8, 7), (4, 2, 3), reduction="none").mean(), 5, 7),
        (torch.randn(9, 3, 5), torch.tensor([[1, 1, 2, 3, 5, 5, 4, 2, 1]])),
    ),
    "ctc_impossible": lambda: (
        Applied(lambda y, t: F.ctc_loss(y.log_softmax(-1), t, (3, 9, 9), (4, 2, 3), zero_infinity=True), 5, 7),
        (torch.randn(9, 3, 5), LABELS),
    ),
    "ctc_not_normalized": lambda: (
        Applied(lambda y, t: F.ctc_loss(y, t, (9, 8, 7), (4, 2, 3)), 5, 7), (torch.randn(9, 3, 5), LABELS)
    ),
    "ctc_single": lambda: (
        Applied(lambda y, t: F.ctc_loss(y.log_softmax(-1), t[0], (9,), (4,)), 5, 7), (torch.randn(9, 5), LABELS[:1])
    ),
    "normal": lambda: (
        Applied(lambda y, t: -torch.distributions.Normal(y[:, :2], y[:, 2:].exp()).log_prob(t).mean(), outputs=4),
        (torch.randn(6, 3), torch.randn(6, 2)),
    ),
    "gamma": lambda: (
        Applied(lambda y, t: -torch.distributions.Gamma(y[:, :2].exp(), y[:, 2:].exp()).log_prob(t).mean(), outputs=4),
        (torch.randn(6, 3), torch.rand(6, 2) + 0.1),
    ),
    "histogram": lambda: (
        Applied(lambda x: x.mean() * 0 + torch.histc(x.detach(), 4, -1, 1).square().mean()), (torch.randn(6, 3),)
    ),
    "histogram_of_all": lambda: (
        Applied(lambda x: x.mean() + torch.histc(x.detach().round() * 4, 5).square().mean()), (torch.randn(6, 3),)
    ),
}  # fmt: skip


def spec_of(name: str) -> ModelSpec:
    torch.manual_seed(5)
    model, inputs = CASES[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    names += [f"x{i}" for i in range(len(inputs) - len(names))]
    return ModelSpec(model, dict(zip(names, inputs)), optimizer, file=HERE)


@pytest.mark.parametrize("name", CASES)
def test_training_and_inference_equal_pytorch(name: str) -> None:
    spec = spec_of(name)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=2)
    spec.model.eval()
    compare_inference(spec, capture(spec, inference=True))


def test_a_bags_gradient_by_frequency_is_refused() -> None:
    """PyTorch's own gradient is that of other rows; the values are as ever."""
    layer = nn.EmbeddingBag(10, 4, scale_grad_by_freq=True)
    spec = ModelSpec(Layered(layer), {"x": torch.randint(10, (3, 4))}, file=HERE)
    compare_inference(spec, capture(spec, inference=True))
    with pytest.raises(UnsupportedError, match="leave out scale_grad_by_freq"):
        capture(spec, inference=False)


def test_weights_that_a_hook_computes() -> None:
    """The older weight norm keeps a computed weight, which PyTorch does not copy."""
    torch.manual_seed(5)
    model = Layered(nn.utils.weight_norm(nn.Linear(4, 6)))
    spec = ModelSpec(model, {"x0": torch.randn(5, 4)}, file=HERE)
    compare_inference(spec, capture(spec, inference=True))
    captured = capture(spec, inference=False)
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    model(*spec.inputs.values())[0].backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(symbols[f"{name}.grad"], parameter.grad, rtol=1e-5, atol=1e-6)
