"""Iterators that a model keeps: each call takes the next item, and a trace sees only the first."""

from __future__ import annotations

from collections.abc import Iterator
from types import GeneratorType
from typing import Any

_PLAIN = (bool, int, float, str, bytes, range, type(None))


def is_iterator(cls: type) -> bool:
    """Whether objects of a class are Python's own iterators, or generators."""
    return issubclass(cls, Iterator) and cls.__module__ in ("builtins", "itertools")


def position(iterator: Any) -> Any:
    """Where an iterator stands: another value for another place."""
    if isinstance(iterator, GeneratorType):
        frame = iterator.gi_frame
        if frame is None:
            return "at the end"
        return frame.f_lasti, [_shown(value) for value in frame.f_locals.values()], _shown(iterator.gi_yieldfrom)
    try:
        return _shown(iterator.__reduce__())
    except TypeError:  # such as a map of what cannot be copied
        return "unknown"


def _shown(value: Any, depth: int = 3) -> Any:
    """Numbers and text by their values, iterators by their positions, other objects by who they are."""
    if type(value) in _PLAIN:
        return value
    if type(value) in (tuple, list) and depth:
        return tuple(_shown(item, depth - 1) for item in value)
    return position(value) if is_iterator(type(value)) else id(value)
