"""What a model returns, as tensors with the keys under which it returned them."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

Keyed = tuple[str, Any]
"""The dict keys or field names on the way to a leaf, joined by dots ('' where there are none), and the leaf."""


def tensors_of(returned: Any) -> list[tuple[str, Tensor]]:
    """Every tensor in what a model returned, in order, with its key; dataclasses are looked into."""
    return [(key, leaf) for key, leaf in leaves_of(returned) if isinstance(leaf, Tensor)]


def leaves_of(returned: Any, key: str = "") -> list[Keyed]:
    """Everything in nested containers, in order, each with its key."""
    found: list[Keyed] = []
    for path, leaf in pytree.tree_flatten_with_path(returned)[0]:
        keys = [str(entry.key) for entry in path if isinstance(entry, pytree.MappingKey)]
        own = ".".join([key, *keys] if key else keys)
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            for item in dataclasses.fields(leaf):
                found += leaves_of(getattr(leaf, item.name), f"{own}.{item.name}" if own else item.name)
        else:
            found.append((own, leaf))
    return found
