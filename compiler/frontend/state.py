"""What a model's code keeps from one call to the next: attributes of modules, and caches beside them.

Tracing runs forward on tensors without content. A rotary table or a mask that forward keeps for later would be such a
tensor, and break the next call; so everything is put back afterwards.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import _lru_cache_wrapper, lru_cache
from operator import is_
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from compiler.frontend.module_state import TABLES

_OWN = Path(__file__).resolve().parent.parent.parent
_HOUSE = tuple(f"{_OWN / name}/" for name in ("compiler", "ir", "backends", "pef", "runtime", "sambaflow"))
_STDLIB = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = frozenset({"site-packages", "dist-packages"})

DEPTH = 4
"""How far containers in containers are followed."""

LARGEST = 10_000
"""Items of a container whose own items are followed: larger ones hold data, not caches."""

_ATOMS = (str, bytes, int, float, complex, bool, type(None), Tensor, nn.Module, ModuleType, torch.dtype, torch.device)
_PLAIN = (bool, int, float, str, bytes)
_NOT_FOLLOWED = (*_ATOMS, type, FunctionType)
_THEIR_OWN_BUSINESS = frozenset({"torch", *sys.stdlib_module_names})


class Surroundings:
    """What the code of `model` can keep from one call to the next: the attributes of its modules and of objects in
    them, and the globals, class attributes, closures and caches of the Python modules that it comes from."""

    def __init__(self, model: nn.Module) -> None:
        self._attributes, self._code = _Kept(), _Kept()
        for module in model.modules():
            self._attributes.mapping(vars(module), DEPTH)
        tables = [[vars(module), *(vars(module).get(name) for name in TABLES)] for module in model.modules()]
        self._own = {id(table) for of_module in tables for table in of_module}
        for source in sources(model):
            self._code.module(source)

    def changed(self) -> list[str]:
        """The names of what is another than when this was made, but for the modules' own attributes."""
        return [container.shown(key) for container in self._others() for key in container.changed()]

    def counts(self) -> bool:
        """Whether a number is another than when this was made."""
        return any(True for _ in self._numbers())

    def advance(self, to: int) -> None:
        """Have a further change of the same size bring such numbers to `to`, or to -`to` where they go down."""
        for container, key, change in self._numbers():
            container.put(key, (to if change > 0 else -to) - change)

    def _numbers(self) -> Iterator[tuple[_Container, Any, float]]:
        for container in (*self._attributes.containers, *self._code.containers):
            for key in container.changed():
                before, now = container.was(key), container.get(key)
                if type(now) in (int, float) and type(before) in (int, float, type(None)):
                    yield container, key, now - (before or 0)

    def restore(self) -> None:
        """Everything is as it was when this was made, but for the modules' own attributes."""
        for container in self._others():
            container.restore()
        self._code.restore()

    def _others(self) -> list[_Container]:
        containers = (*self._attributes.containers, *self._code.containers)
        return [container for container in containers if container.identity not in self._own]

    def clean(self) -> None:
        """Everything is as it was, and caches of functions hold no tensors without content."""
        self._attributes.restore()
        self._code.restore()
        for cache, calls in self._code.caches:
            if cache.cache_info() != calls and _holds_fake(cache):
                cache.cache_clear()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[Surroundings]:
    """Afterwards the attributes of `model` and its modules are as before, and so are the globals, class attributes and
    closures of the code that they come from; caches of functions are emptied of tensors without content."""
    surroundings = Surroundings(model)
    try:
        yield surroundings
    finally:
        surroundings.clean()


def sources(model: nn.Module) -> list[ModuleType]:
    """The user's own Python modules, and those of the packages that the model's classes come from."""
    classes = {cls for module in model.modules() for cls in type(module).__mro__}
    packages = {cls.__module__.partition(".")[0] for cls in classes} - {"torch", "builtins", "sambaflow", "typing"}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or not isinstance(file, str) or file.startswith(_HOUSE):
            continue
        package = name.partition(".")[0]
        if package in packages or not (package in _THEIR_OWN_BUSINESS or _is_installed(file)):
            found.append(module)
    return found


@lru_cache(None)
def _is_installed(file: str) -> bool:
    """Whether a file is Python's or an installed package's."""
    return file.startswith(_STDLIB) or not _INSTALLED.isdisjoint(Path(file).parts)


class _Mapping:
    """A dict and what it held. A trace keeps thousands: nothing is built that may not be needed."""

    __slots__ = ("before", "mapping")

    def __init__(self, mapping: dict[Any, Any]) -> None:
        self.mapping, self.before = mapping, dict(mapping)

    @property
    def identity(self) -> int:
        return id(self.mapping)

    def changed(self) -> list[Any]:
        """The keys of what is another than before, or gone."""
        return _changed(self.mapping, self.before)

    def get(self, key: Any) -> Any:
        """What it holds."""
        return self.mapping.get(key)

    def was(self, key: Any) -> Any:
        """What it held."""
        return self.before.get(key)

    def put(self, key: Any, value: Any) -> None:
        """Have it hold another value."""
        self.mapping[key] = value

    def shown(self, key: Any) -> str:
        """A name for what is under a key."""
        return str(key)

    def restore(self) -> None:
        """Put the former content back."""
        mapping, before = self.mapping, self.before
        for key in [key for key in mapping if key not in before]:
            del mapping[key]
        for key, value in before.items():
            if mapping.get(key, mapping) is not value:
                mapping[key] = value


class _Items:
    """A list, deque or set and what it held."""

    __slots__ = ("before", "items")

    def __init__(self, items: Any) -> None:
        self.items, self.before = items, list(items)

    @property
    def identity(self) -> int:
        return id(self.items)

    def changed(self) -> list[Any]:
        """The places of what is another than before, or gone."""
        if len(self.items) == len(self.before) and all(map(is_, self.items, self.before)):
            return []
        return _changed(dict(enumerate(self.items)), dict(enumerate(self.before)))

    def get(self, key: int) -> Any:
        """What is at a place."""
        return self.items[key] if isinstance(self.items, list) and key < len(self.items) else self.items

    def was(self, key: int) -> Any:
        """What was at a place."""
        return self.before[key] if key < len(self.before) else self.before

    def put(self, key: int, value: Any) -> None:
        """Put another value at a place."""
        self.items[key] = value

    def shown(self, key: int) -> str:
        """A name for what is at a place."""
        return f"an item of a {type(self.items).__name__}"

    def restore(self) -> None:
        """Put the former content back."""
        items, before = self.items, self.before
        if len(items) != len(before) or any(now is not then for now, then in zip(items, before)):
            items.clear()
            items.update(before) if isinstance(items, set) else items.extend(before)


class _Class:
    """The attributes of a class."""

    __slots__ = ("before", "cls")

    def __init__(self, cls: type) -> None:
        self.cls, self.before = cls, dict(vars(cls))

    @property
    def identity(self) -> int:
        return id(self.cls)

    def changed(self) -> list[Any]:
        """The names of attributes that are others than before, or gone."""
        return _changed(vars(self.cls), self.before)

    def get(self, key: str) -> Any:
        """An attribute."""
        return vars(self.cls).get(key)

    def was(self, key: str) -> Any:
        """What an attribute was."""
        return self.before.get(key)

    def put(self, key: str, value: Any) -> None:
        """Set an attribute."""
        setattr(self.cls, key, value)

    def shown(self, key: str) -> str:
        """An attribute with its class."""
        return f"{self.cls.__name__}.{key}"

    def restore(self) -> None:
        """Put the former attributes back."""
        for name, value in dict(vars(self.cls)).items():
            if name.startswith("__"):
                continue
            if name not in self.before:
                delattr(self.cls, name)
            elif self.before[name] is not value:
                setattr(self.cls, name, self.before[name])


class _Cell:
    """A variable of a scope around functions."""

    __slots__ = ("before", "cell", "name")

    def __init__(self, cell: Any, name: str) -> None:
        self.cell, self.name, self.before = cell, name, cell.cell_contents

    @property
    def identity(self) -> int:
        return id(self.cell)

    def changed(self) -> list[Any]:
        """Its name, if it holds another value than before."""
        return (
            [self.name] if not _is_filled(self.cell) or not _is_as_before(self.before, self.cell.cell_contents) else []
        )

    def get(self, _: Any) -> Any:
        """What it holds."""
        return self.cell.cell_contents

    def was(self, _: Any) -> Any:
        """What it held."""
        return self.before

    def put(self, _: Any, value: Any) -> None:
        """Have it hold another value."""
        self.cell.cell_contents = value

    def shown(self, key: str) -> str:
        """The variable's name."""
        return key

    def restore(self) -> None:
        """Put the former value back."""
        if self.changed():
            self.cell.cell_contents = self.before


_Container = _Mapping | _Items | _Class | _Cell


def _changed(now: Mapping[Any, Any], before: dict[Any, Any]) -> list[Any]:
    """Keys that were not there, are no longer, or hold another value; but for what Python notes down itself."""
    if len(now) == len(before) and all(map(is_, now.values(), before.values())):
        return []
    changed = [key for key, value in now.items() if key not in before or not _is_as_before(before[key], value)]
    changed += [key for key in before if key not in now]
    return [key for key in changed if not (isinstance(key, str) and key.startswith("__"))]


def _is_as_before(before: Any, now: Any) -> bool:
    """Whether a value is the same object, or an equal number or text."""
    return before is now or (
        type(before) is type(now) and type(now) in (bool, int, float, str, bytes) and before == now
    )


class _Kept:
    """Copies of containers, and `caches` of functions with how often they had been called."""

    def __init__(self) -> None:
        self.caches: list[tuple[Any, Any]] = []
        self.containers: list[_Container] = []
        self._seen = {id(sys.modules)}
        self._ways: dict[type, Callable[[Any, int], None] | None] = {}

    def restore(self) -> None:
        """Put back what was there."""
        for container in self.containers:
            container.restore()

    def module(self, module: ModuleType) -> None:
        """The globals of a Python module, its functions and its classes."""
        self.mapping(vars(module), 2)
        for value in list(vars(module).values()):
            self._function(value)
            if type(value) is type and value.__module__ == module.__name__:
                self._class(value)

    def _class(self, cls: type) -> None:
        kept = _Class(cls)
        self.containers.append(kept)
        for value in kept.before.values():
            self._function(value.__func__ if isinstance(value, (staticmethod, classmethod)) else value)
            self._follow(value, 2)

    def _function(self, function: Any) -> None:
        """What a function keeps: in its cache, its default arguments, its attributes, or the scope around it."""
        if type(function) is _lru_cache_wrapper:
            self.caches.append((function, function.cache_info()))
        if type(function) is not FunctionType or id(function) in self._seen:
            return
        self._seen.add(id(function))
        attributes = vars(function)
        self.mapping(attributes, 2)
        cells = list(zip(function.__closure__ or (), function.__code__.co_freevars))
        for cell, name in cells:
            if _is_filled(cell) and id(cell) not in self._seen:
                self._seen.add(id(cell))
                self.containers.append(_Cell(cell, name))
        contents = [cell.cell_contents for cell, _ in cells if _is_filled(cell)]
        for value in (*contents, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._function(value) if type(value) is _lru_cache_wrapper else self._follow(value, 2)

    def mapping(self, mapping: dict[Any, Any], depth: int) -> None:
        """A dict, and what it holds."""
        if id(mapping) in self._seen:
            return
        self._seen.add(id(mapping))
        kept = _Mapping(mapping)
        self.containers.append(kept)
        if len(kept.before) <= LARGEST:
            for key, value in kept.before.items():
                if not (isinstance(key, str) and key.startswith("__")):  # what Python keeps there, such as __loader__
                    self._follow(value, depth - 1)

    def _follow(self, value: Any, depth: int) -> None:
        kind = type(value)  # not isinstance: reading the attributes of an object may run code of its own
        try:
            way = self._ways[kind]
        except KeyError:
            way = self._ways[kind] = self._way(kind)
        if way is not None and depth >= 0 and id(value) not in self._seen:
            way(value, depth)

    def _way(self, kind: type) -> Callable[[Any, int], None] | None:
        """How objects of a type are followed; None where they are not."""
        if issubclass(kind, _NOT_FOLLOWED):
            return None
        if kind in (dict, OrderedDict, defaultdict):
            return self.mapping
        if kind in (list, deque, set):
            return self._items
        if kind is tuple:
            return self._tuple
        return self._object if kind.__dictoffset__ and _is_users(kind) else None

    def _tuple(self, value: tuple[Any, ...], depth: int) -> None:
        for item in value:
            self._follow(item, depth - 1)

    def _object(self, value: Any, depth: int) -> None:
        self.mapping(object.__getattribute__(value, "__dict__"), depth)

    def _items(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        kept = _Items(value)
        self.containers.append(kept)
        if len(kept.before) <= LARGEST:
            for item in kept.before:
                self._follow(item, depth - 1)


def _is_users(cls: type) -> bool:
    """Whether a class is neither Python's nor PyTorch's, whose objects look after themselves."""
    return cls.__module__.partition(".")[0] not in _THEIR_OWN_BUSINESS


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _holds_fake(value: Any, depth: int = 4) -> bool:
    """Whether a value is a tensor without content, or a container that reaches one."""
    if isinstance(value, FakeTensor):
        return True
    if not depth or issubclass(type(value), _NOT_FOLLOWED):
        return False
    return any(_holds_fake(item, depth - 1) for item in gc.get_referents(value))
