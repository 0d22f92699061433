"""What forward returns, as tensors in plain containers: other libraries return containers of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from sambaflow.logging import samba_logger


def plain_outputs(value: Any) -> Any:
    """The tensors of `value` in dicts, lists and tuples: of mappings (such as a ModelOutput of Hugging Face, of any
    release), dataclasses and containers that PyTorch knows. What holds no tensors is left out.

    Objects that may hold tensors but are no container, such as a cache of keys and values, are left out with a warning.
    """
    return _plain(value, "the result of forward")


def _plain(value: Any, what: str) -> Any:
    if value is None or isinstance(value, (Tensor, bool, int, float, str)):
        return value if isinstance(value, Tensor) else None
    if isinstance(value, Mapping):
        return _named(value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return _named((field.name, getattr(value, field.name)) for field in fields(value))
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{what}[{number}]") for number, item in enumerate(value)]
    leaves, _ = pytree.tree_flatten(value)
    if len(leaves) != 1 or leaves[0] is not value:
        return [_plain(leaf, what) for leaf in leaves]
    samba_logger.warning("%s is a %s, not a tensor: it is not returned", what, type(value).__name__, log_limit=1)
    return None


def _named(items: Any) -> dict[str, Any]:
    plain = {str(key): _plain(value, f"output {key!r}") for key, value in items}
    return {key: value for key, value in plain.items() if value is not None}
