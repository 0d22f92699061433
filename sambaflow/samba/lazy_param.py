"""Parameters without content: a model of any size can be built, converted and compiled without being in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Change = Callable[[Tensor], Any]
"""Something done in place to a tensor."""


@dataclass(frozen=True)
class _Part:
    """A part of an empty tensor: `of` it is `taken`."""

    of: Tensor
    taken: Change


class _OnMeta(TorchFunctionMode):  # type: ignore[misc]
    """Tensors from `torch.empty`, as layers make for their parameters, are without content; what is done to them in
    place is remembered in `lazy_changes`, to be done when they get content."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is torch.empty:
            return func(*args, **{**named, "device": "meta"})
        result = func(*args, **named)
        first = args[0] if args else None
        if not isinstance(first, Tensor) or not first.is_meta:
            return result
        rest = args[1:]  # without the tensor itself, which must be free to go when it gets content
        if func is torch.Tensor.__getitem__ and isinstance(result, Tensor):
            result.lazy_part = _Part(first, lambda tensor: func(tensor, *rest, **named))
        elif _is_in_place(func):
            _remember(first, lambda tensor: func(tensor, *rest, **named))
        return result


def _is_in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__") and name != "requires_grad_")


def _remember(tensor: Tensor, change: Change) -> None:
    part = getattr(tensor, "lazy_part", None)
    if part is not None:
        _remember(part.of, lambda whole: change(part.taken(whole)))
        return
    tensor.lazy_changes = [*getattr(tensor, "lazy_changes", ()), change]


def initialised(parameter: Tensor) -> Tensor | None:
    """The content that a parameter without would have had: what was done to it when its module was built. None where
    nothing is known."""
    changes = getattr(parameter, "lazy_changes", None)
    if changes is None:
        return None
    content = torch.empty(parameter.shape, dtype=parameter.dtype)
    with torch.no_grad():
        for change in changes:
            change(content)
    return content


@contextmanager
def lazy_param(quantized: bool = False) -> Iterator[None]:
    """Parameters of modules built inside have shape and element type but no content. `materialize` gives it, or
    `samba.utils.trace_graph`, which puts it on the device: what they would have been initialised to. Buffers, and
    parameters made of other tensors, have content at once."""
    originals = {name: value for name, value in vars(nn.init).items() if name.endswith("_") and callable(value)}
    try:
        for name, function in originals.items():
            setattr(nn.init, name, _deferred(function))
        with _OnMeta():
            yield
    finally:
        for name, function in originals.items():
            setattr(nn.init, name, function)


def _deferred(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `torch.nn.init` that waits for content: some look at the numbers they draw."""

    @functools.wraps(function)
    def waiting(tensor: Tensor, *args: Any, **named: Any) -> Any:
        if not isinstance(tensor, Tensor) or not tensor.is_meta:
            return function(tensor, *args, **named)
        _remember(tensor, lambda content: function(content, *args, **named))
        return tensor

    return waiting


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
