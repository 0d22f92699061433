"""Layers and losses that PyTorch computes with operators of their own: training and inference equal PyTorch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import UnsupportedError
from tests.frontend.reference import compare_inference, compare_training

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
    names = [name for name in inspect.signature(model.forward).parameters if name != "x"] if len(inputs) > 3 else []
    return ModelSpec(model, dict(zip(["x", *names, "y"], inputs)), optimizer, file=HERE)


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
