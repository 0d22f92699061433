"""Parameters without content: a model of any size can be built, converted and compiled without being in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _OnMeta(TorchFunctionMode):  # type: ignore[misc]
    """Tensors are made without content."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func in _CREATION:
            named["device"] = "meta"
        return func(*args, **named)


_CREATION = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.tensor}


@contextmanager
def lazy_param(quantized: bool = False) -> Iterator[None]:
    """Parameters of modules built inside have shape and element type but no content; `materialize` gives it."""
    with _OnMeta():
        yield


class RNGProvider:
    """Makes random number generators, each of its own seed, in order."""

    def __init__(self, seed: int) -> None:
        self._next = seed

    def __call__(self) -> RNG:
        self._next += 1
        return RNG(self._next)


class RNGProviderFactory:
    """Makes providers from torch's seed."""

    def build_provider(self) -> RNGProvider:
        """A provider that starts from torch's seed."""
        return RNGProvider(torch.initial_seed() % 2**31)


class RNG:
    """A random number generator for initial weights."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(
        self, mean: float = 0.0, std: float = 1.0, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Normally distributed numbers."""
        return (torch.randn(tuple(shape), generator=self._generator) * std + mean).to(dtype)

    def uniform(
        self, low: float = 0.0, high: float = 1.0, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Uniform numbers."""
        return (torch.rand(tuple(shape), generator=self._generator) * (high - low) + low).to(dtype)
