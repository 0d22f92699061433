"""Containers in which a model's code keeps things, each with what it held when it was noted.

What is put back is put back by Python's own methods: those of a class that is made of one may do more than that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from operator import is_
from typing import Any

import numpy as np

DICTS: tuple[type, ...] = (Counter, OrderedDict, defaultdict, dict)
LISTS: tuple[type, ...] = (list, deque, set, bytearray)
"""Python's own containers, those before others of which they are made."""


def made_of(kind: type, among: tuple[type, ...]) -> type | None:
    """Which of Python's containers a class is, or is derived from; None where it is none."""
    return kind if kind in among else next((base for base in among if issubclass(kind, base)), None)


class Container(ABC):
    """Something that holds values, each under a key, and what it held when it was noted."""

    __slots__ = ("before", "held")

    def __init__(self, held: Any, before: Any) -> None:
        self.held, self.before = held, before

    @property
    def identity(self) -> int:
        return id(self.held)

    def __len__(self) -> int:
        """How many values it held that may be something else than numbers."""
        return len(self.before)

    def grew(self) -> int:
        """How much longer it is than it was."""
        return 0

    @abstractmethod
    def now(self) -> Iterable[tuple[Any, Any]]:
        """What it holds, with where."""

    @abstractmethod
    def changed(self) -> list[Any]:
        """The keys of what is another than before, or gone."""

    @abstractmethod
    def get(self, key: Any) -> Any:
        """What it holds."""

    def was(self, key: Any) -> Any:
        """What it held."""
        return self.before.get(key)

    @abstractmethod
    def put(self, key: Any, value: Any) -> None:
        """Have it hold another value."""

    def hold(self, key: Any, value: Any) -> None:
        """As though it had always held another value."""
        self.put(key, value)
        self.before[key] = value

    def shown(self, key: Any) -> str:
        """A name for what is under a key."""
        return str(key)

    @abstractmethod
    def restore(self) -> None:
        """Put the former content back."""


class Mapping(Container):
    """A dict and what it held. A trace keeps thousands: nothing is built that may not be needed."""

    __slots__ = ("kind",)

    def __init__(self, mapping: Any, before: dict[Any, Any] | None = None) -> None:
        super().__init__(mapping, dict(dict.items(mapping)) if before is None else before)
        self.kind: Any = made_of(type(mapping), DICTS)

    def grew(self) -> int:
        """How much longer it is than it was."""
        return dict.__len__(self.held) - len(self.before)

    def now(self) -> Iterable[tuple[Any, Any]]:
        """What it holds, with where."""
        return dict.items(self.held)

    def changed(self) -> list[Any]:
        """The keys of what is another than before, or gone."""
        held, before = self.held, self.before
        if dict.__len__(held) == len(before) and all(map(is_, dict.values(held), before.values())):
            return []
        return _changed(dict(self.now()), before)

    def get(self, key: Any) -> Any:
        """What it holds."""
        return dict.get(self.held, key)

    def put(self, key: Any, value: Any) -> None:
        """Have it hold another value."""
        self.kind.__setitem__(self.held, key, value)

    def restore(self) -> None:
        """Put the former content back."""
        mapping, before = self.held, self.before
        is_as_before = dict.__len__(mapping) == len(before) and all(map(is_, dict.values(mapping), before.values()))
        if is_as_before and all(map(is_, dict.keys(mapping), before)):
            return
        for key in [key for key in dict.keys(mapping) if key not in before]:
            self.kind.__delitem__(mapping, key)
        for key, value in before.items():
            if dict.get(mapping, key, mapping) is not value:
                self.put(key, value)


class Hooks(Mapping):
    """The hooks of a tensor that has a name."""

    __slots__ = ("name",)

    def __init__(self, hooks: Any, name: str) -> None:
        super().__init__(hooks)
        self.name = name

    def shown(self, key: Any) -> str:
        """A hook and its tensor."""
        return f"the hooks of {self.name}"


class Items(Container):
    """A list, deque or set and what it held."""

    __slots__ = ("kind",)

    def __init__(self, items: Any) -> None:
        super().__init__(items, [])
        self.kind: Any = made_of(type(items), LISTS)
        self.before = list(self._all())

    def _all(self) -> Iterable[Any]:
        """What it holds."""
        found: Iterable[Any] = self.kind.__iter__(self.held)
        return found

    def grew(self) -> int:
        """How much longer it is than it was."""
        return int(self.kind.__len__(self.held)) - len(self.before)

    def now(self) -> Iterable[tuple[Any, Any]]:
        """What it holds, with where."""
        return enumerate(self._all())

    def changed(self) -> list[Any]:
        """The places of what is another than before, or gone."""
        if not self.grew() and all(map(is_, self._all(), self.before)):
            return []
        return _changed(dict(self.now()), dict(enumerate(self.before)))

    def get(self, key: Any) -> Any:
        """What is at a place."""
        is_there = self.kind in (list, deque) and key < self.kind.__len__(self.held)
        return self.kind.__getitem__(self.held, key) if is_there else self.held

    def was(self, key: Any) -> Any:
        """What was at a place."""
        return self.before[key] if key < len(self.before) else self.before

    def put(self, key: Any, value: Any) -> None:
        """Put another value at a place."""
        if self.kind is not set:
            self.kind.__setitem__(self.held, key, value)

    def hold(self, key: Any, value: Any) -> None:
        """As though another value had always been at a place."""
        self.put(key, value)
        if self.kind is not set:
            self.before[key] = value

    def shown(self, key: Any) -> str:
        """A name for what is at a place."""
        return f"an item of a {self.kind.__name__}"

    def restore(self) -> None:
        """Put the former content back."""
        if not self.grew() and all(map(is_, self._all(), self.before)):
            return
        self.kind.clear(self.held)
        self.kind.update(self.held, self.before) if self.kind is set else self.kind.extend(self.held, self.before)


class Elements(Container):
    """A NumPy array and its elements."""

    __slots__ = ()

    def __init__(self, array: Any) -> None:
        super().__init__(array, array.copy())

    def __len__(self) -> int:
        """How many values it held that may be something else than numbers."""
        return 0

    def now(self) -> Iterable[tuple[Any, Any]]:
        """Nothing that could be anything but a number."""
        return ()

    def changed(self) -> list[Any]:
        """The places, among all, of elements that are others than before."""
        if self.held.tobytes() == self.before.tobytes():
            return []
        return [int(place) for place in np.flatnonzero(self.held != self.before)]

    def get(self, key: Any) -> Any:
        """An element."""
        return self.held.flat[key]

    def was(self, key: Any) -> Any:
        """What an element was."""
        return self.before.flat[key]

    def put(self, key: Any, value: Any) -> None:
        """Have an element be another."""
        self.held.flat[key] = value

    def hold(self, key: Any, value: Any) -> None:
        """As though an element had always been another."""
        self.put(key, value)
        self.before.flat[key] = value

    def shown(self, key: Any) -> str:
        """A name for an element."""
        return "an element of a NumPy array"

    def restore(self) -> None:
        """Put the former elements back."""
        if self.held.tobytes() != self.before.tobytes():
            self.held[...] = self.before


class Class(Container):
    """The attributes of a class."""

    __slots__ = ()

    def __init__(self, cls: type) -> None:
        super().__init__(cls, dict(vars(cls)))

    def grew(self) -> int:
        """How many more attributes it has than it had."""
        return len(vars(self.held)) - len(self.before)

    def now(self) -> Iterable[tuple[Any, Any]]:
        """Its attributes."""
        attributes: Iterable[tuple[Any, Any]] = vars(self.held).items()
        return attributes

    def changed(self) -> list[Any]:
        """The names of attributes that are others than before, or gone."""
        return _changed(vars(self.held), self.before)

    def get(self, key: Any) -> Any:
        """An attribute."""
        return vars(self.held).get(key)

    def put(self, key: Any, value: Any) -> None:
        """Set an attribute."""
        setattr(self.held, key, value)

    def shown(self, key: Any) -> str:
        """An attribute with its class."""
        return f"{self.held.__name__}.{key}"

    def restore(self) -> None:
        """Put the former attributes back."""
        for name, value in dict(vars(self.held)).items():
            if name.startswith("__"):
                continue
            if name not in self.before:
                delattr(self.held, name)
            elif self.before[name] is not value:
                setattr(self.held, name, self.before[name])


class Slots(Container):
    """What an object holds in slots of its class, of which each has a name and what reads and writes it."""

    __slots__ = ("slots",)

    def __init__(self, owner: Any, slots: dict[str, Any]) -> None:
        super().__init__(owner, {})
        self.slots = slots
        self.before = dict(self.now())

    def now(self) -> Iterable[tuple[Any, Any]]:
        """What it holds, with the slots' names."""
        return [(name, self.get(name)) for name in self.slots]

    def changed(self) -> list[Any]:
        """The names of slots that hold something else than before."""
        return _changed(dict(self.now()), self.before)

    def get(self, key: Any) -> Any:
        """What is in a slot; None for nothing."""
        try:
            return self.slots[key].__get__(self.held)
        except AttributeError:
            return None

    def put(self, key: Any, value: Any) -> None:
        """Have a slot hold another value."""
        self.slots[key].__set__(self.held, value)

    def restore(self) -> None:
        """Put the former content back."""
        for key in self.changed():
            self.put(key, self.before[key])


class Cell(Container):
    """A variable of a scope around functions."""

    __slots__ = ("name",)

    def __init__(self, cell: Any, name: str) -> None:
        super().__init__(cell, cell.cell_contents)
        self.name = name

    def __len__(self) -> int:
        """How many values it held."""
        return 1

    def now(self) -> Iterable[tuple[Any, Any]]:
        """What it holds, with its name."""
        return [(self.name, self.held.cell_contents)] if is_filled(self.held) else []

    def changed(self) -> list[Any]:
        """Its name, if it holds another value than before."""
        is_same = is_filled(self.held) and _is_as_before(self.before, self.held.cell_contents)
        return [] if is_same else [self.name]

    def get(self, _: Any) -> Any:
        """What it holds."""
        return self.held.cell_contents

    def was(self, _: Any) -> Any:
        """What it held."""
        return self.before

    def put(self, _: Any, value: Any) -> None:
        """Have it hold another value."""
        self.held.cell_contents = value

    def hold(self, _: Any, value: Any) -> None:
        """As though it had always held another value."""
        self.held.cell_contents = self.before = value

    def restore(self) -> None:
        """Put the former value back."""
        if self.changed():
            self.held.cell_contents = self.before


class Defaults(Container):
    """What the arguments of a function are where they are left out, by their places."""

    __slots__ = ()

    def __init__(self, function: Any) -> None:
        super().__init__(function, dict(enumerate(function.__defaults__)))

    def now(self) -> Iterable[tuple[Any, Any]]:
        """The values, with their places."""
        return enumerate(self.held.__defaults__ or ())

    def changed(self) -> list[Any]:
        """The places of what is another than before."""
        return _changed(dict(self.now()), self.before)

    def get(self, key: Any) -> Any:
        """A value."""
        return dict(self.now()).get(key)

    def put(self, key: Any, value: Any) -> None:
        """Have an argument be another where it is left out."""
        self.held.__defaults__ = tuple({**dict(self.now()), key: value}.values())

    def shown(self, key: Any) -> str:
        """A name for a value."""
        return f"a default of {self.held.__qualname__}"

    def restore(self) -> None:
        """Put the former values back."""
        if self.changed():
            self.held.__defaults__ = tuple(self.before.values())


def _changed(now: Any, before: dict[Any, Any]) -> list[Any]:
    """Keys that were not there, are no longer, or hold another value; but for what Python notes down itself."""
    if len(now) == len(before) and all(map(is_, now.values(), before.values())):
        return []
    changed = [key for key, value in now.items() if key not in before or not _is_as_before(before[key], value)]
    changed += [key for key in before if key not in now]
    return [key for key in changed if not (isinstance(key, str) and key.startswith("__"))]


def _is_as_before(before: Any, now: Any) -> bool:
    """Whether a value is the same object, or an equal number or text."""
    return before is now or (type(before) is type(now) and _is_plain(now) and bool(before == now))


def _is_plain(value: Any) -> bool:
    return type(value) in (bool, int, float, str, bytes) or isinstance(value, np.generic)


def is_filled(cell: Any) -> bool:
    """Whether a variable of a scope around functions has a value."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
