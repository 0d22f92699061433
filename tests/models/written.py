"""Small models as people write them, one habit or rare function each, for comparison with PyTorch's training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Parts = Callable[[], dict[str, Any]]
Body = Callable[[Any, Tensor], Any]
Optimizer = Callable[[nn.Module], torch.optim.Optimizer]


def plain_sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Without any extras."""
    return torch.optim.SGD(model.parameters(), lr=0.05)


class Written(nn.Module):
    """Parts, and a forward given from outside. A tensor among the parts is a buffer."""

    def __init__(self, parts: dict[str, Any], body: Body) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


class Case(NamedTuple):
    """A model and how it is trained."""

    parts: Parts
    body: Body
    x: Callable[[], Tensor]
    optimizer: Optimizer
    is_evaluated: bool = False

    def made(self) -> tuple[nn.Module, Tensor, torch.optim.Optimizer]:
        """The model, an input and the optimizer, the same every time."""
        torch.manual_seed(11)
        model = Written(self.parts(), self.body)
        x = self.x()
        if self.is_evaluated:
            model.eval()
        return model, x, self.optimizer(model)


CASES: dict[str, Case] = {}
"""Filled by `written`."""


def linear() -> dict[str, Any]:
    """Two layers."""
    return {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}


def written(
    parts: Parts = linear,
    x: Callable[[], Tensor] | tuple[int, ...] = (6, 4),
    optimizer: Optimizer = plain_sgd,
    **more: Any,
) -> Callable[[Body], Body]:
    """Note a forward of parts and an input, or of the shape of one, as a case of its own name."""
    make = x if callable(x) else lambda: torch.randn(*x)

    def note(body: Body) -> Body:
        CASES[body.__name__] = Case(parts, body, make, optimizer, **more)
        return body

    return note
