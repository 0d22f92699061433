"""What a model's code keeps from one call to the next: attributes of modules, and caches beside them.

Tracing runs forward on tensors without content. A rotary table or a mask that forward keeps for later would be such a
tensor, and break the next call; so everything is put back afterwards.
"""

from __future__ import annotations

import gc
import sys
from argparse import Namespace
from collections import UserDict, UserList
from collections.abc import Callable, Iterator
from collections.abc import Mapping as ReadOnly
from contextlib import contextmanager
from functools import _lru_cache_wrapper, lru_cache, partial
from pathlib import Path
from types import FunctionType, MemberDescriptorType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from compiler.frontend.containers import (
    DICTS,
    LISTS,
    Cell,
    Class,
    Container,
    Elements,
    Items,
    Mapping,
    Slots,
    is_filled,
    made_of,
)
from compiler.frontend.growth import GROWING, Answer, far, grown, is_number, summary
from compiler.frontend.iterators import is_iterator, position
from compiler.frontend.locations import INSTALLED, is_pythons
from compiler.frontend.module_state import TABLES

_OWN = Path(__file__).resolve().parent.parent.parent
_HOUSE = tuple(f"{_OWN / name}/" for name in ("compiler", "ir", "backends", "pef", "runtime", "sambaflow"))

DEPTH = 4
"""How far containers in containers are followed."""

LARGEST = 10_000
"""Items of a container whose own items are followed, and elements of an array that is noted: larger ones hold data, not
caches or counts."""

_ATOMS = (str, bytes, int, float, complex, bool, type(None), Tensor, nn.Module, ModuleType, torch.dtype, torch.device)
_OPEN = (SimpleNamespace, Namespace, UserDict, UserList)
"""Python's own classes whose objects hold what their users put there."""
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
        self.counting = self.turning = False
        self._noted: dict[Any, Any] = {}
        self._moving: set[Any] = set()

    def changed(self) -> list[str]:
        """The names of what is another than when this was made, but for the modules' own attributes."""
        return [container.shown(key) for container in self._others() for key in container.changed()]

    def note(self) -> None:
        """Note what everything has come to, which is another than when this was made."""
        self._noted = self._standing()

    def compare(self) -> None:
        """See what has changed again since it was noted: `counting` says whether something counts or grows, and
        `turning` whether something else is not what it was."""
        now = self._standing()
        moving = {place for place in {**now, **self._noted} if now.get(place) != self._noted.get(place)}
        growing = {container for container, key in moving if key is None}
        self._moving = {place for place in moving if place in self._noted or place[0] not in growing}
        self.counting = any(is_number(now.get(place)) for place in self._moving)
        self.turning = any(not is_number(now.get(place)) for place in self._moving)

    def _standing(self) -> dict[Any, Any]:
        """What has changed, as far as it can be compared, by the container and the place."""
        found: dict[Any, Any] = {}
        for container in self._containers():
            changed = container.changed()
            if changed:
                found[container.identity, None] = container.grew()
            for key in changed:
                found[container.identity, key] = summary(container.get(key))
        return found

    def advance(self, answer: Answer | None = None) -> None:
        """Have such numbers come far up or down with a further change of the same size, and such lengths too. Who asks
        about a number gets the `answer`, if there is one."""
        for container, key, change in list(self._numbers()):
            if container.was(key) is not None or (container.identity, key) in self._moving:
                value = far(container.get(key), change)
                container.put(key, value if answer is None else answer.counted(value))
        for container, key, growth in list(self._lengths()):
            if growth > 0:
                container.put(key, grown(container.get(key), growth))
            else:
                container.get(key).clear()

    def takes_from_iterators(self) -> bool:
        """Whether an iterator has gone on since this was made."""
        kept = (*self._attributes.iterators, *self._code.iterators)
        return any(position(iterator) != before for iterator, before in kept)

    @contextmanager
    def replaced(self, others: ReadOnly[int, Any]) -> Iterator[None]:
        """Other values in place of those under their ids, as though they had always been there."""
        found = [
            (container, key, value)
            for container in self._containers()
            if len(container) <= LARGEST
            for key, value in container.now()
            if id(value) in others
        ]
        for container, key, value in found:
            container.hold(key, others[id(value)])
        try:
            yield
        finally:
            for container, key, value in found:
                container.hold(key, value)

    def _containers(self) -> tuple[Container, ...]:
        return (*self._attributes.containers, *self._code.containers)

    def _numbers(self) -> Iterator[tuple[Container, Any, Any]]:
        """Where a number is another than before, and by how much it changed."""
        for container in self._containers():
            for key in container.changed():
                before, now = container.was(key), container.get(key)
                if is_number(now) and (before is None or is_number(before)):
                    yield container, key, now - (before or 0)

    def _lengths(self) -> Iterator[tuple[Container, Any, int]]:
        """Where something is that has another length than before, and by how much it grew."""
        containers = self._containers()
        growth = {container.identity: container.grew() for container in containers if container.grew()}
        if not growth:
            return
        for container in containers:
            for key, now in container.now() if len(container) <= LARGEST else ():
                base: Any = made_of(type(now), GROWING)
                if base is None:
                    continue
                if id(now) in growth:
                    yield container, key, growth[id(now)]
                elif container.was(key) is None and base.__len__(now):
                    yield container, key, base.__len__(now)

    def restore(self) -> None:
        """Everything is as it was when this was made, but for the modules' own attributes."""
        for container in self._others():
            container.restore()
        self._code.restore()

    def _others(self) -> list[Container]:
        return [container for container in self._containers() if container.identity not in self._own]

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
    return is_pythons(file) or not INSTALLED.isdisjoint(Path(file).parts)


class _Kept:
    """Copies of containers, `iterators` with their positions, and `caches` of functions with how often they had been
    called."""

    def __init__(self) -> None:
        self.caches: list[tuple[Any, Any]] = []
        self.containers: list[Container] = []
        self.iterators: list[tuple[Any, Any]] = []
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
        kept = Class(cls)
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
            if is_filled(cell) and id(cell) not in self._seen:
                self._seen.add(id(cell))
                self.containers.append(Cell(cell, name))
        contents = [cell.cell_contents for cell, _ in cells if is_filled(cell)]
        for value in (*contents, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._function(value) if type(value) is _lru_cache_wrapper else self._follow(value, 2)

    def mapping(self, mapping: Any, depth: int) -> None:
        """A dict, and what it holds."""
        if id(mapping) in self._seen:
            return
        self._seen.add(id(mapping))
        kept = Mapping(mapping)
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
        if kind in DICTS:
            return self.mapping
        if kind in LISTS:
            return self._items
        if kind is tuple:
            return self._tuple
        if kind is np.ndarray:
            return self._elements
        if is_iterator(kind):
            return self._iterator
        return partial(self._object, slots=_slots(kind)) if _is_users(kind) or kind in _OPEN else None

    def _tuple(self, value: tuple[Any, ...], depth: int) -> None:
        for item in value:
            self._follow(item, depth - 1)

    def _object(self, value: Any, depth: int, slots: dict[str, Any]) -> None:
        """What an object holds, also one of a class that is made of a container."""
        kind = type(value)
        if made_of(kind, DICTS):
            self.mapping(value, depth)
        elif made_of(kind, LISTS):
            self._items(value, depth)
        if kind.__dictoffset__:
            self.mapping(object.__getattribute__(value, "__dict__"), depth)
        if slots:
            self._seen.add(id(value))
            kept = Slots(value, slots)
            self.containers.append(kept)
            for held in kept.before.values():
                self._follow(held, depth - 1)

    def _elements(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        if value.size <= LARGEST and value.flags.writeable:
            self.containers.append(Elements(value))

    def _iterator(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        self.iterators.append((value, position(value)))

    def _items(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        kept = Items(value)
        self.containers.append(kept)
        if len(kept.before) <= LARGEST:
            for item in kept.before:
                self._follow(item, depth - 1)


def _slots(cls: type) -> dict[str, Any]:
    """The slots of a class, and of those it is derived from, by their names."""
    tables = [vars(base) for base in reversed(cls.__mro__) if "__slots__" in vars(base)]
    return {name: slot for table in tables for name, slot in table.items() if isinstance(slot, MemberDescriptorType)}


def _is_users(cls: type) -> bool:
    """Whether a class is neither Python's nor PyTorch's, whose objects look after themselves."""
    return cls.__module__.partition(".")[0] not in _THEIR_OWN_BUSINESS


def _holds_fake(value: Any, depth: int = 4) -> bool:
    """Whether a value is a tensor without content, or a container that reaches one."""
    if isinstance(value, FakeTensor):
        return True
    if not depth or issubclass(type(value), _NOT_FOLLOWED):
        return False
    return any(_holds_fake(item, depth - 1) for item in gc.get_referents(value))
