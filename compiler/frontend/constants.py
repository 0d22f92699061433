"""Parts of a traced graph that depend on no input: computed here, once, by PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
UNINITIALISED = {
    aten.empty.memory_format, aten.empty_like.default, aten.empty_permuted.default, aten.empty_strided.default,
    aten.new_empty.default, aten.new_empty_strided.default,
}  # fmt: skip
"""Operators whose result holds whatever the memory held: here zeros, so that two compiles make the same PEF."""


class Constants:
    """Knows which nodes of a traced graph are constant, and computes them on demand."""

    def __init__(self, known: dict[fx.Node, Tensor]) -> None:
        self._values: dict[fx.Node, Any] = dict(known)
        self._constant: dict[fx.Node, bool] = dict.fromkeys(known, True)

    def __contains__(self, node: fx.Node) -> bool:
        if node not in self._constant:
            computable = node.op == "call_function" and not _is_random(node.target)
            self._constant[node] = computable and all(operand in self for operand in node.all_input_nodes)
        return self._constant[node]

    def value(self, node: fx.Node) -> Any:
        """What a constant node computes."""
        if node not in self._values:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.value)
            with torch.no_grad():
                value = node.target(*args, **_on_the_host(kwargs))
                self._values[node] = torch.zeros_like(value) if node.target in UNINITIALISED else value
        return self._values[node]


def _on_the_host(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments without the device the model is on: a model without content still has constants with content."""
    return {**kwargs, "device": torch.device("cpu")} if kwargs.get("device") is not None else kwargs


def _is_random(target: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())
