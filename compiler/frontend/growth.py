"""What numbers, lists and dicts that every call of a model changes have come to at a later call.

No list is really made that long: it only says so. What decides by a length asks for it; what reads the items finds
those there are. A decision may be another at one call alone, such as the hundredth: so it is tried both ways, whatever
the count is.
"""

from __future__ import annotations

import builtins
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np

from compiler.frontend.containers import DICTS, LISTS, made_of

FAR = 1_441_440_000
"""What a count is at a later call: divisible by what people divide by, and still a number of 32 bits."""
LONG = 18_018_000
"""How long a list is at a later call. Python sets memory aside for so many items where it copies one."""
MOST_ANSWERS = 1000
"""Questions about counts that are answered alike: a loop that asks more often waits for another answer."""
COMPUTING = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift",
)  # fmt: skip
COMPARING = ("eq", "ne", "lt", "le", "gt", "ge", "bool")
GROWING = (*LISTS, *DICTS)
REMOVING = ("pop", "popleft", "popitem", "remove", "discard", "clear", "__delitem__")


def is_number(value: Any) -> bool:
    """Whether a value may be a count; not whether something is so."""
    return type(value) in (int, float) or isinstance(value, (np.integer, np.floating))


def summary(value: Any) -> Any:
    """Something to compare a value by: itself, if it is a number or text, the length of what grows, and what kind of
    thing it is otherwise."""
    if type(value) in (bool, int, float, str, bytes, type(None)) or isinstance(value, np.generic):
        return value
    base: Any = made_of(type(value), GROWING)
    if base is not None:
        return base.__len__(value)
    return tuple(map(summary, value)) if type(value) is tuple else type(value)


def far(now: Any, change: Any) -> Any:
    """What a number is after many calls that changed it like the last one, before one more."""
    value = (FAR if change > 0 else -FAR) - change
    if not isinstance(now, np.generic):
        return value
    limits: Any = np.iinfo(now.dtype) if isinstance(now, np.integer) else np.finfo(now.dtype)
    return now.dtype.type(min(max(value, limits.min), limits.max))


def grown(items: Any, growth: int) -> Any:
    """What a list, dict or other container is after many calls that made it longer, before one more."""
    kind: Any = type(items)
    base: Any = made_of(kind, GROWING)
    found: Any = base.__new__(_saying(kind))
    if base is deque:
        deque.__init__(found, deque.__iter__(items), items.maxlen)
    elif base is defaultdict:
        defaultdict.__init__(found, items.default_factory, dict.items(items))
    else:
        base.__init__(found, dict(dict.items(items)) if base in DICTS else base.__iter__(items))
    vars(found).update(getattr(items, "__dict__", {}))
    found.unseen = LONG - growth - base.__len__(items)
    return found


@cache
def _saying(kind: Any) -> Any:
    """A class like one of Python's containers whose objects say that they are longer by what is `unseen`, until
    something is taken out: those that a model keeps short are not long at a later call either."""

    def length(items: Any) -> int:
        said: int = kind.__len__(items) + items.unseen
        return said if getattr(items, "maxlen", None) is None else min(said, items.maxlen)

    def item(items: Any, key: Any) -> Any:
        if issubclass(kind, (list, deque)) and isinstance(key, int) and key >= items.unseen:
            key -= items.unseen
        return kind.__getitem__(items, key)

    def removing(name: str) -> Any:
        def remove(items: Any, *arguments: Any, **named: Any) -> Any:
            items.unseen = 0
            return getattr(kind, name)(items, *arguments, **named)

        return remove

    methods = {name: removing(name) for name in REMOVING if hasattr(kind, name)}
    if kind is not set:
        methods["__getitem__"] = item
    return type(kind.__name__, (kind,), {"unseen": 0, "__len__": length, **methods})


class Answer:
    """What everything that asks about a count is told: that it is so, or that it is not."""

    def __init__(self, says: bool) -> None:
        self.says, self.left = says, MOST_ANSWERS

    def __call__(self, is_so: bool) -> bool:
        self.left -= 1
        return self.says if self.left >= 0 else is_so

    def counted(self, value: Any) -> Any:
        """A number that has this answer for who compares it, or what is computed of it; other values as they are."""
        kind = next((kind for kind in (int, float) if isinstance(value, kind)), None)
        return value if kind is None or isinstance(value, bool) else _asked(kind, self)(value)

    @contextmanager
    def of_lengths(self) -> Iterator[None]:
        """The lengths of what has `grown` are such numbers."""
        real = builtins.len

        def length(items: Any) -> int:
            found = real(items)
            return self.counted(found) if getattr(type(items), "unseen", None) == 0 and items.unseen else found

        with patch.object(builtins, "len", length):
            yield


@lru_cache(16)
def _asked(kind: Any, answer: Answer) -> Any:
    """A class of numbers whose comparisons have this answer."""

    def computing(name: str) -> Any:
        def compute(count: Any, *others: Any) -> Any:
            found = getattr(kind, name)(count, *others)
            if found is NotImplemented and kind is int and type(others[0]) is float:
                found = getattr(float, name)(float(count), *others)
            return answer.counted(found)

        return compute

    def comparing(name: str) -> Any:
        def compare(count: Any, *others: Any) -> Any:
            found = getattr(kind, name)(count, *others)
            return found if found is NotImplemented else answer(found)

        return compare

    names = [f"__{side}{name}__" for name in COMPUTING for side in ("", "r")]
    methods = {name: computing(name) for name in (*names, "__neg__", "__abs__") if hasattr(kind, name)}
    methods |= {name: comparing(name) for name in (f"__{name}__" for name in COMPARING)}
    return type(kind.__name__, (kind,), {**methods, "__hash__": kind.__hash__})
