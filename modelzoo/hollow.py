"""Models without content: shapes and element types alone, so that the largest compile on any computer.

PyTorch's fake tensors, rather than its meta device: a constant that forward makes from Python numbers keeps its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

Made = TypeVar("Made")


def without_content(build: Callable[[], Made]) -> Made:
    """What `build` makes, on fake tensors."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        return build()


def beside(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as the model can take them: without content where the model has none."""
    first = next(model.parameters(), None)
    if not isinstance(first, FakeTensor):
        return dict(tensors)
    return {name: first.fake_mode.from_tensor(tensor) for name, tensor in tensors.items()}
