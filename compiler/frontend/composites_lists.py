"""Operators over lists of tensors, as one operator per tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

NAMES = (
    "abs", "add", "addcdiv", "addcmul", "ceil", "clamp_max", "clamp_min", "cos", "div", "erf", "exp", "expm1", "floor",
    "frac", "lerp", "log", "log1p", "log2", "maximum", "minimum", "mul", "neg", "pow", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sqrt", "sub", "tan", "tanh", "trunc",
)  # fmt: skip
"""Those that come as `_foreach_NAME` and, in place, as `_foreach_NAME_`."""


def _one_by_one(function: Callable[..., Any], in_place: bool) -> Callable[..., Any]:
    """The rule for a list: `function` of each of its tensors with its own of the other lists."""

    def rule(first: list[Tensor], *rest: Any, **named: Any) -> Any:
        results = [
            function(
                tensor,
                *(_own(value, number) for value in rest),
                **{name: _own(value, number) for name, value in named.items()},
            )
            for number, tensor in enumerate(first)
        ]
        if not in_place:
            return results
        for tensor, result in zip(first, results):
            tensor.copy_(result)
        return None

    return rule


def _own(value: Any, number: int) -> Any:
    return value[number] if isinstance(value, (list, tuple)) else value


def _scaled(function: Callable[..., Any]) -> Callable[..., Any]:
    """addcmul or addcdiv, whose factor comes by position in lists."""
    return lambda x, first, second, value=1: function(x, first, second, value=value)


def norms(tensors: list[Tensor], ord: float = 2, dtype: torch.dtype | None = None) -> list[Tensor]:
    """The norm of each."""
    return [torch.linalg.vector_norm(tensor, ord, dtype=dtype) for tensor in tensors]


def _rules() -> Iterator[tuple[Any, Callable[..., Any]]]:
    for name in NAMES:
        function = getattr(aten, name)
        function = _scaled(function) if name in ("addcmul", "addcdiv") else function
        for ending in ("", "_"):
            packet = getattr(aten, f"_foreach_{name}{ending}")
            for overload in packet.overloads():
                if overload != "ScalarAndTensor" and not overload.endswith("out"):
                    yield getattr(packet, overload), _one_by_one(function, bool(ending))


LISTS: dict[Any, Callable[..., Any]] = {
    **dict(_rules()),
    aten._foreach_norm.Scalar: norms,
    aten._foreach_copy_.default: _one_by_one(aten.copy, True),
    aten._foreach_zero_.default: _one_by_one(aten.zeros_like, True),
}
"""By ATen overload."""
