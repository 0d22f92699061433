"""What numbers, lists and dicts that every call of a model changes have come to at a later call.

No list that calls make longer is really made that long: it only says so. What decides by a length asks for it; what
reads the items finds those there are. A decision may be another at one call alone, such as the hundredth: so it is
tried both ways, whatever the count is.
"""

from __future__ import annotations

import builtins
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np

from compiler.frontend.containers import DICTS, LISTS, made_of
from compiler.frontend.kept import LENGTH, QUANTITIES, Path, parts, with_parts

FAR = 1_441_440_000
"""What a count is at a later call: divisible by what people divide by, and still a number of 32 bits."""
LONG = 18_018_000
"""How long a list is at a later call. Python sets memory aside for so many items where it copies one."""
MANY = 3600
"""How many items more something that every call makes anew has at a later call: these are there, for the next is made
of them."""
MOST_ANSWERS = 1000
"""Questions about counts that are answered alike: a loop that asks more often waits for another answer."""
COMPUTING = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift",
)  # fmt: skip
COMPARING = ("eq", "ne", "lt", "le", "gt", "ge", "bool")
GROWING = (*LISTS, *DICTS)
REMOVING = ("pop", "popleft", "popitem", "remove", "discard", "clear", "__delitem__")


def far(now: Any, change: Any) -> Any:
    """What a number is after many calls that changed it like the last one, before one more."""
    if type(now) is np.ndarray:
        return np.where(change == 0, now, _within(now.dtype, np.where(change > 0, FAR, -FAR) - change))
    if type(now) in QUANTITIES:
        return now + change * LONG
    value = (FAR if change > 0 else -FAR) - change
    return now.dtype.type(_within(now.dtype, value)) if isinstance(now, np.generic) else value


def _within(dtype: Any, value: Any) -> Any:
    """The number nearest to a value that an element type has."""
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return np.clip(value, limits.min, limits.max).astype(dtype)


def advanced(value: Any, changes: Mapping[Path, Any], answer: Answer | None) -> Any:
    """A value like the one that a call has made anew, as a later call finds it: with the numbers and the lengths in it
    that are under `changes` as far as they get with further changes like those."""
    if () in changes:
        found = far(value, changes[()])
        return found if answer is None else answer.counted(found)
    held = parts(value)
    inner: dict[Any, dict[Path, Any]] = {}
    for path, change in changes.items():
        if path[0] in held:
            inner.setdefault(path[0], {})[path[1:]] = change
    if inner:
        value = with_parts(value, {key: advanced(held[key], below, answer) for key, below in inner.items()})
    if (LENGTH,) in changes:
        value = _longer(value, changes[LENGTH,])
        if answer is not None:
            answer.lengths.update(range(len(value), len(value) + abs(changes[LENGTH,]) + 1))
    return value


def _longer(value: Any, growth: int) -> Any:
    """A list, text or such with many more items like its last `growth`; an empty one where there are less each time."""
    kind: Any = type(value)
    if growth < 0:
        return kind()
    times = max(MANY // growth, 1)
    if kind in (list, tuple, str, bytes, bytearray):
        return value + value[-growth:] * times
    if kind is deque:
        return deque((*value, *list(value)[-growth:] * times), value.maxlen)
    if kind in (set, frozenset, dict):
        last = list(value)[-1]
        make: Any = type(last) if type(last) in (int, float, str) else lambda _: object()
        keys = [make(FAR + number) for number in range(MANY)]
        return {**dict.fromkeys(keys, value[last]), **value} if kind is dict else value.union(keys)
    return grown(value, growth) if made_of(kind, GROWING) else value


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
        self.lengths: set[int] = set()

    def __call__(self, is_so: bool) -> bool:
        self.left -= 1
        return self.says if self.left >= 0 else is_so

    def counted(self, value: Any) -> Any:
        """A number that has this answer for who compares it, or what is computed of it; other values as they are."""
        kind = next((kind for kind in (int, float) if isinstance(value, kind)), None)
        return value if kind is None or isinstance(value, bool) else _asked(kind, self)(value)

    @contextmanager
    def of_lengths(self) -> Iterator[None]:
        """The lengths of what has become longer are such numbers."""
        real = builtins.len

        def length(items: Any) -> int:
            found = real(items)
            is_grown = getattr(type(items), "unseen", None) == 0 and items.unseen
            return self.counted(found) if is_grown or found in self.lengths else found

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
