"""What a model's forward returns, as the tensors in it: a program has no other outputs.

Results come in tuples, lists, dicts, dataclasses and the libraries' own classes of these, often beside None, numbers
and text, which are known when compiling. A cache of keys and values that the model made for a later call is left out:
it grows, and what grows has no fixed size.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ir.errors import CaptureError, Problem

log = logging.getLogger("snc")

PLAIN = (bool, int, float, complex, str, bytes, enum.Enum, torch.dtype, torch.device, type(None))
"""What is known when compiling and holds no tensor."""

SHOWN = 3
"""Results named of those that are left out."""

_NOTHING = object()


def tensors_in(result: Any, left_out: Callable[[str], None] = lambda what: None) -> Any:
    """The tensors in `result`, in dicts (by key or field) and tuples; `left_out` is told of everything else but None.

    Raises CaptureError for an object that holds tensors where nobody can tell which of them are results.
    """
    kept = _kept(result, "", left_out)
    return () if kept is _NOTHING else kept


def flat_tensors(result: Any) -> list[Tensor]:
    """The tensors in `result` in the order in which a program has them as outputs."""
    return [leaf for leaf in pytree.tree_leaves(tensors_in(result)) if isinstance(leaf, Tensor)]


def say_left_out(names: list[str]) -> None:
    """Tell the user, once for a model, what of its results the program does not return."""
    names = list(dict.fromkeys(names))
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        log.warning("note: the model also returns %s%s: only tensors are outputs", ", ".join(names[:SHOWN]), more)


def _kept(value: Any, path: str, left_out: Callable[[str], None]) -> Any:
    if isinstance(value, Tensor):
        return value
    if _is_cache(value):
        left_out(f"{_named(path, value)}, a cache for a later call")
        return _NOTHING
    children = _children(value)
    if children is None:
        _leave_out(value, path, left_out)
        return _NOTHING
    found = {key: _kept(child, f"{path}.{key}" if path else str(key), left_out) for key, child in children}
    found = {key: child for key, child in found.items() if child is not _NOTHING}
    return found if isinstance(value, Mapping) or dataclasses.is_dataclass(value) else tuple(found.values())


def _children(value: Any) -> Iterator[tuple[Any, Any]] | None:
    """What a container holds, by key, field or position; None for anything else."""
    if isinstance(value, Mapping):
        return iter(value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, (tuple, list)):
        return iter(enumerate(value))
    if type(value) in pytree.SUPPORTED_NODES:
        return iter(enumerate(pytree.SUPPORTED_NODES[type(value)].flatten_fn(value)[0]))
    return None


def _is_cache(value: Any) -> bool:
    """Whether it is a library's cache of keys and values, or of states."""
    return any(base.__name__.endswith("Cache") for base in type(value).__mro__)


def _leave_out(value: Any, path: str, left_out: Callable[[str], None]) -> None:
    if value is None:
        return
    if not isinstance(value, PLAIN) and _holds_tensors(value):
        raise CaptureError(
            Problem(
                f"the model returns {_named(path, value)}, whose tensors have no known order",
                hint="return the tensors themselves, in a tuple, a dict or a dataclass",
            )
        )
    left_out(f"{path} = {value!r}" if path and isinstance(value, PLAIN) else _named(path, value))


def _named(path: str, value: Any) -> str:
    kind = type(value).__name__
    return f"{path} ({kind})" if path else f"a {kind}"


def _holds_tensors(value: Any) -> bool:
    """Whether a tensor is among the attributes of an object, or in containers there."""
    return any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(dict(getattr(value, "__dict__", {}))))
