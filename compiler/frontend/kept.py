"""What a value that a model's code keeps is made of, and the numbers and lengths in it, each under the way to it.

Code may count in place, or keep a new value in place of the last: another number, tuple, array, or object of its own.
"""

from __future__ import annotations

import copy
import queue
import sys
import threading
import weakref
from argparse import Namespace
from collections import UserDict, UserList, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import islice
from logging import Logger
from operator import is_not
from types import BuiltinMethodType, MemberDescriptorType, SimpleNamespace
from typing import Any

import numpy as np

from compiler.frontend.containers import DICTS, LISTS, made_of

Path = tuple[Any, ...]
"""The keys, places and names of attributes that lead from a value to something in it."""

LENGTH = "length of"
"""The end of the way to how long something is."""
DEPTH = 4
"""How far containers in containers are followed."""
LARGEST = 10_000
"""Items of a container whose own items are followed, and elements of an array that is noted: larger ones hold data, not
caches or counts."""
OPEN = (
    SimpleNamespace, Namespace, UserDict, UserList, threading.local, queue.Queue, queue.LifoQueue, Logger,
    weakref.WeakKeyDictionary, weakref.WeakValueDictionary,
)  # fmt: skip
"""Python's own classes whose objects hold what their users put there."""
NOT_USERS = frozenset({"torch", *sys.stdlib_module_names})
"""Packages whose objects look after themselves."""

_PLACED = (list, deque, tuple)
_WITH_LENGTH = (*LISTS, *DICTS, tuple, frozenset, str, bytes)
QUANTITIES = (Fraction, Decimal, complex, timedelta)
"""Other kinds of numbers that people count with."""


def is_number(value: Any) -> bool:
    """Whether a value may be a count; not whether something is so."""
    return type(value) in (int, float, *QUANTITIES) or isinstance(value, (np.integer, np.floating, Numbers))


class Numbers:
    """The elements of an array, which compare as one."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and self._is_like(other) and self.array.tobytes() == other.array.tobytes()

    __hash__ = None  # type: ignore[assignment]

    def __sub__(self, other: Any) -> Any:
        """How much each element is more than it was, or than zero."""
        is_like = isinstance(other, Numbers) and self._is_like(other)
        return self.array - other.array if is_like else self.array.copy()

    def _is_like(self, other: Numbers) -> bool:
        return (self.array.dtype, self.array.shape) == (other.array.dtype, other.array.shape)


def difference(now: Any, was: Any) -> Any:
    """By how much a number is more than another, or than zero where that is nothing of its kind."""
    try:
        return now - was
    except TypeError:
        return now - type(now)()


def measures(value: Any) -> dict[Path, Any]:
    """Every number and length in a value, and what may be compared of everything else, under the way to it."""
    return dict(islice(_measures(value, (), DEPTH, set()), LARGEST))


def _measures(value: Any, path: Path, depth: int, seen: set[int]) -> Iterator[tuple[Path, Any]]:
    kind = type(value)
    if kind in (bool, int, float, str, bytes, type(None), *QUANTITIES) or isinstance(value, np.generic):
        yield path, value
    elif kind is np.ndarray and value.size <= LARGEST and value.dtype.kind in "iuf":
        yield path, Numbers(value.copy())
    else:
        yield path, kind
    length = made_of(kind, _WITH_LENGTH)
    if length is not None:
        yield (*path, LENGTH), length.__len__(value)  # type: ignore[attr-defined]
    if depth and id(value) not in seen:
        seen.add(id(value))
        for key, part in parts(value).items():
            yield from _measures(part, (*path, key), depth - 1, seen)


def parts(value: Any) -> Mapping[Any, Any]:
    """What a container of Python's, or an object of a user's class, holds: by key, by place, or by name."""
    kind = type(value)
    base: Any = made_of(kind, (*DICTS, *_PLACED))
    if base in DICTS:
        return dict(dict.items(value))
    if base is not None:
        return dict(enumerate(base.__iter__(value)))
    return attributes(value) if is_followed(kind) else {}


def with_parts(value: Any, new: Mapping[Any, Any]) -> Any:
    """A value like another, with other parts under the keys of `new`."""
    kind = type(value)
    base: Any = made_of(kind, (*DICTS, *_PLACED))
    if base is tuple:
        return tuple.__new__(kind, [new.get(place, item) for place, item in enumerate(tuple.__iter__(value))])
    found = copy.copy(value)
    for key, part in new.items():
        if base is not None:
            base.__setitem__(found, key, part)
        else:
            object.__setattr__(found, key, part)  # also where the class is frozen
    return found


def attributes(value: Any) -> dict[str, Any]:
    """An object's attributes, in its dict or in slots, without running code of its own."""
    kind = type(value)
    own: dict[str, Any] = {}
    table = attribute_table(value)
    if table is not None:
        own.update(table)
    for name, slot in slots(kind).items():
        with suppress(AttributeError):
            own[name] = slot.__get__(value)
    return own


def attribute_table(value: Any) -> Any:
    """The dict of an object's attributes; None where it has none. That of a `threading.local` is this thread's."""
    if isinstance(value, threading.local):
        return threading.local.__getattribute__(value, "__dict__")
    return object.__getattribute__(value, "__dict__") if type(value).__dictoffset__ else None


def slots(cls: type) -> dict[str, Any]:
    """The slots of a class, and of those it is derived from, by their names."""
    tables = [vars(base) for base in reversed(cls.__mro__) if "__slots__" in vars(base)]
    return {name: slot for table in tables for name, slot in table.items() if isinstance(slot, MemberDescriptorType)}


def is_followed(cls: type) -> bool:
    """Whether what objects of a class hold is their users' business: those of a user's class, and some of Python's."""
    return is_users(cls) or cls in OPEN


def is_users(thing: Any) -> bool:
    """Whether a class or function is neither Python's nor PyTorch's, which look after themselves."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] not in NOT_USERS


HOLDING = (tuple, partial, BuiltinMethodType)
"""What may hold a value that `substituted` puts another in place of."""


def substituted(value: Any, others: Mapping[int, Any], depth: int = DEPTH) -> Any:
    """A value, with others in place of those under their ids that it is, or that a tuple, a partial function or a
    method of a class of Python's holds in it; the very same where there are none."""
    if id(value) in others:
        return others[id(value)]
    if isinstance(value, BuiltinMethodType) and id(value.__self__) in others:
        return getattr(others[id(value.__self__)], value.__name__)
    if depth and type(value) is partial:
        held = (value.func, *value.args, *value.keywords.values())
        function, *arguments = substituted(held, others, depth - 1)
        count = len(value.args)
        found = partial(function, *arguments[:count], **dict(zip(value.keywords, arguments[count:])))
        return found if any(map(is_not, held, (function, *arguments))) else value
    if depth and isinstance(value, tuple):
        items = [substituted(item, others, depth - 1) for item in tuple.__iter__(value)]
        return tuple.__new__(type(value), items) if any(map(is_not, items, tuple.__iter__(value))) else value
    return value
