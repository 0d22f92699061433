"""What a model's code keeps from one call to the next: attributes of modules, and caches beside them.

Tracing runs forward on tensors without content. A rotary table or a mask that forward keeps for later would be such a
tensor, and break the next call; so everything is put back afterwards.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection, Iterator
from collections.abc import Mapping as ReadOnly
from contextlib import contextmanager
from functools import _lru_cache_wrapper, lru_cache, partial
from logging import Logger
from operator import is_
from pathlib import Path as FilePath
from types import FunctionType, MethodType, ModuleType
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
    Defaults,
    Elements,
    Hooks,
    Items,
    Mapping,
    Slots,
    is_filled,
    made_of,
)
from compiler.frontend.growth import GROWING, Answer, advanced, grown
from compiler.frontend.iterators import is_iterator, position
from compiler.frontend.kept import (
    DEPTH,
    HOLDING,
    LARGEST,
    LENGTH,
    NOT_USERS,
    Path,
    attribute_table,
    difference,
    is_followed,
    is_number,
    is_users,
    measures,
    slots,
    substituted,
)
from compiler.frontend.locations import INSTALLED, is_pythons
from compiler.frontend.module_state import TABLES

_OWN = FilePath(__file__).resolve().parent.parent.parent
_PACKAGES = ("compiler", "ir", "backends", "pef", "runtime", "sambaflow", "workbench", "modelbox", "snc")
_HOUSE = tuple(f"{_OWN / name}/" for name in _PACKAGES)

_ATOMS = (str, bytes, int, float, complex, bool, type(None), Tensor, ModuleType, torch.dtype, torch.device)
_FUNCTIONS = (FunctionType, _lru_cache_wrapper)
_NOT_FOLLOWED = (*_ATOMS, type, nn.Module)

Place = tuple[int, Any, Path]
"""A container, by its identity, a key in it, or None for the container itself, and the way to what is in that."""


class Surroundings:
    """What the code of `model` can keep from one call to the next: the attributes of its modules and of objects in
    them, and the globals, class attributes, closures and caches of the Python modules that it comes from; and what
    `functions` around it can, such as its loss."""

    def __init__(self, model: nn.Module, *functions: Any) -> None:
        tables = [[vars(module), *(vars(module).get(name) for name in TABLES)] for module in model.modules()]
        self._own = {id(table) for of_module in tables for table in of_module}
        found = sources(model)
        names = {source.__name__ for source in found}
        self._attributes, self._code = _Kept(names), _Kept(names, self._own)
        for module in model.modules():
            self._attributes.mapping(vars(module), DEPTH)
        for source in found:
            self._code.module(source)
        for module in model.modules():
            for cls in type(module).__mro__:
                self._code.follow(cls)
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor._backward_hooks:
                self._code.hooks(name, tensor._backward_hooks)
        for function in functions:
            self._code.follow(function)
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
        growing = {(container, key, path[:-1]) for container, key, path in moving if path[-1:] == (LENGTH,)}
        self._moving = {place for place in moving if place in self._noted or growing.isdisjoint(_around(*place))}
        self.counting = any(is_number(now.get(place)) for place in self._moving)
        self.turning = any(not is_number(now.get(place)) for place in self._moving)

    def _standing(self) -> dict[Place, Any]:
        """What has changed, as far as it can be compared, by its place."""
        found: dict[Place, Any] = {}
        for container in self._containers():
            changed = container.changed()
            if changed:
                found[container.identity, None, (LENGTH,)] = container.grew()
            for key in changed:
                for path, measure in measures(container.get(key)).items():
                    found[container.identity, key, path] = measure
        return found

    def advance(self, answer: Answer | None = None) -> None:
        """Have such numbers come far up or down with a further change of the same size, and such lengths too. Who asks
        about a number gets the `answer`, if there is one."""
        growth = {container.identity: container.grew() for container in self._containers() if container.grew()}
        for container, key, now, changes in list(self._changed(growth)):  # before any of them is another
            container.put(key, advanced(now, changes, answer))
        self._grow(growth)

    def _changed(self, growth: ReadOnly[int, int]) -> Iterator[tuple[Container, Any, Any, dict[Path, Any]]]:
        """The places that hold another number or length than before, what that is, and by how much it has changed; but
        for containers that have grown themselves."""
        for container in self._containers():
            for key in container.changed():
                now = container.get(key)
                if now is not container.held and id(now) not in growth:
                    changes = dict(self._changes(container, key, now))
                    if changes:
                        yield container, key, now, changes

    def _changes(self, container: Container, key: Any, now: Any) -> Iterator[tuple[Path, Any]]:
        """By how much numbers and lengths of what is at a place are others than before. What was not there before may
        have been made once and for all: it counts if it has changed again."""
        before = measures(container.was(key))
        for path, measure in measures(now).items():
            was = before.get(path)
            is_new = not is_number(was) and (container.identity, key, path) not in self._moving
            if is_number(measure) and measure != was and not is_new:
                yield path, difference(measure, was)

    def _grow(self, growth: ReadOnly[int, int]) -> None:
        """Have what calls have made longer be long wherever it is held, and what they have made shorter be empty."""
        longer = {
            container.identity: grown(container.held, growth[container.identity])
            for container in self._containers()
            if growth.get(container.identity, 0) > 0 and made_of(type(container.held), GROWING)
        }
        for container in self._containers() if growth else ():
            for key, now in list(container.now()) if len(container) <= LARGEST else ():
                found = substituted(now, longer)
                if found is not now:
                    container.put(key, found)
                elif growth.get(id(now), 0) < 0 and made_of(type(now), GROWING):
                    now.clear()

    def takes_from_iterators(self) -> bool:
        """Whether an iterator has gone on since this was made."""
        kept = (*self._attributes.iterators, *self._code.iterators)
        return any(position(iterator) != before for iterator, before in kept)

    @contextmanager
    def replaced(self, others: ReadOnly[int, Any]) -> Iterator[None]:
        """Other values in place of those under their ids, as though they had always been there, also in tuples."""
        found = [
            (container, key, value)
            for container in self._containers()
            if len(container) <= LARGEST
            for key, value in container.now()
            if (id(value) in others or isinstance(value, HOLDING)) and substituted(value, others) is not value
        ]
        for container, key, value in found:
            container.hold(key, substituted(value, others))
        try:
            yield
        finally:
            for container, key, value in found:
                container.hold(key, value)

    def _containers(self) -> tuple[Container, ...]:
        return (*self._attributes.containers, *self._code.containers)

    def restore(self) -> None:
        """Everything is as it was when this was made, but for the modules' own attributes."""
        for container in self._others():
            container.restore()

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
def unchanged(model: nn.Module, *functions: Any) -> Iterator[Surroundings]:
    """Afterwards the attributes of `model` and its modules are as before, and so are the globals, class attributes and
    closures of the code that they come from, and of `functions` around it; caches of functions are emptied of tensors
    without content."""
    surroundings = Surroundings(model, *functions)
    try:
        yield surroundings
    finally:
        surroundings.clean()


def sources(model: nn.Module) -> list[ModuleType]:
    """The user's own Python modules, a notebook among them, and those of the packages that the model's classes come
    from."""
    classes = {cls for module in model.modules() for cls in type(module).__mro__}
    packages = {cls.__module__.partition(".")[0] for cls in classes} - {"torch", "builtins", "sambaflow", "typing"}
    return [module for package, is_users_own, module in _imported.modules() if is_users_own or package in packages]


class _Imported:
    """The Python modules but for the toolchain's own: there are thousands, looked through again only when others are
    imported than before."""

    def __init__(self) -> None:
        self._last: tuple[list[str], list[Any], list[tuple[str, bool, ModuleType]]] = [], [], []

    def modules(self) -> list[tuple[str, bool, ModuleType]]:
        """Each with the package it is of, and whether it is of the user's own."""
        names, modules = list(sys.modules), list(sys.modules.values())
        before_names, before, found = self._last
        if names != before_names or not all(map(is_, modules, before)):
            found = [entry for name, module in zip(names, modules) for entry in _entry(name, module)]
            self._last = names, modules, found
        return found


_imported = _Imported()


def _entry(name: str, module: Any) -> Iterator[tuple[str, bool, ModuleType]]:
    file = getattr(module, "__file__", "" if name == "__main__" else None)
    if isinstance(module, ModuleType) and isinstance(file, str) and not file.startswith(_HOUSE):
        package = name.partition(".")[0]
        yield package, not (package in NOT_USERS or _is_installed(file)), module


@lru_cache(None)
def _is_installed(file: str) -> bool:
    """Whether a file is Python's or an installed package's."""
    return is_pythons(file) or not INSTALLED.isdisjoint(FilePath(file).parts)


class _Kept:
    """Copies of containers, `iterators` with their positions, and `caches` of functions with how often they had been
    called. Classes are followed that are of `modules`, and no dicts with the ids `others`."""

    def __init__(self, modules: Collection[str], others: Collection[int] = ()) -> None:
        self.modules = modules
        self.caches: list[tuple[Any, Any]] = []
        self.iterators: list[tuple[Any, Any]] = []
        self._containers: list[Container] = []
        self._empty: list[dict[Any, Any]] = []
        self._seen = {id(sys.modules), *others}
        self._ways: dict[type, Callable[[Any, int], None] | None] = {}

    @property
    def containers(self) -> list[Container]:
        """All, but for dicts that have been empty all the time: nearly every function has one."""
        if any(self._empty):
            self._containers += [Mapping(mapping, {}) for mapping in self._empty if mapping]
            self._empty = [mapping for mapping in self._empty if not mapping]
        return self._containers

    def restore(self) -> None:
        """Put back what was there."""
        for container in self.containers:
            container.restore()

    def module(self, module: ModuleType) -> None:
        """The globals of a Python module, its functions and its classes."""
        self.mapping(vars(module), 2)
        for value in list(vars(module).values()):
            if type(value) in _FUNCTIONS:
                self._function(value)

    def follow(self, value: Any) -> None:
        """What a value holds."""
        self._follow(value, 2)

    def hooks(self, name: str, hooks: Any) -> None:
        """The hooks of a tensor of this name, and what they hold."""
        self._containers.append(Hooks(hooks, name))
        for hook in hooks.values():
            self._follow(hook, 2)

    def _class(self, cls: type, _: int) -> None:
        if cls.__module__ not in self.modules:
            return
        self._seen.add(id(cls))
        kept = Class(cls)
        self._containers.append(kept)
        for value in kept.before.values():
            if isinstance(value, property):
                value = value.fget
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
        cells = list(zip(function.__closure__, function.__code__.co_freevars)) if function.__closure__ else []
        for cell, name in cells:
            if is_filled(cell) and id(cell) not in self._seen:
                self._seen.add(id(cell))
                self._containers.append(Cell(cell, name))
        if function.__defaults__ and not all(isinstance(value, _ATOMS) for value in function.__defaults__):
            self._containers.append(Defaults(function))
        if function.__kwdefaults__:
            self.mapping(function.__kwdefaults__, 2)
        contents = [cell.cell_contents for cell, _ in cells if is_filled(cell)]
        for value in (*contents, *(function.__defaults__ or ())):
            self._follow(value, 2)

    def mapping(self, mapping: Any, depth: int) -> None:
        """A dict, and what it holds."""
        if id(mapping) in self._seen:
            return
        self._seen.add(id(mapping))
        if type(mapping) is dict and not mapping:
            self._empty.append(mapping)
            return
        kept = Mapping(mapping)
        self._containers.append(kept)
        if depth and len(kept.before) <= LARGEST:
            for key, value in kept.before.items():
                if self._ways.get(type(value), self) is None:  # most values: a number, a text, a tensor
                    continue
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
        if issubclass(kind, _ATOMS):
            return None
        if issubclass(kind, type):
            return self._class
        if issubclass(kind, nn.Module):
            return self._module
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
        if kind in _FUNCTIONS:
            return self._users_function
        if kind is MethodType:
            return self._method
        if kind is partial:
            return self._partial
        return partial(self._object, slots=slots(kind)) if is_followed(kind) else None

    def _module(self, value: nn.Module, depth: int) -> None:
        """A module that is not the model's, or may not be."""
        for module in value.modules():
            self.mapping(vars(module), depth)

    def _tuple(self, value: tuple[Any, ...], depth: int) -> None:
        for item in value:
            self._follow(item, depth - 1)

    def _users_function(self, value: Any, _: int) -> None:
        if is_users(value):
            self._function(value)

    def _method(self, value: Any, depth: int) -> None:
        self._follow(value.__func__, depth)
        self._follow(value.__self__, depth)

    def _partial(self, value: Any, depth: int) -> None:
        for item in (value.func, *value.args, *value.keywords.values()):
            self._follow(item, depth - 1)

    def _object(self, value: Any, depth: int, slots: dict[str, Any]) -> None:
        """What an object holds, also one of a class that is made of a container."""
        kind = type(value)
        if made_of(kind, DICTS):
            self.mapping(value, depth)
        elif made_of(kind, LISTS):
            self._items(value, depth)
        table = attribute_table(value)
        if table is not None:
            if isinstance(value, Logger):  # the levels that it has been asked about are its own business
                self._seen.add(id(value._cache))  # type: ignore[attr-defined]
            self.mapping(table, depth)
        if slots:
            self._seen.add(id(value))
            kept = Slots(value, slots)
            self._containers.append(kept)
            for held in kept.before.values():
                self._follow(held, depth - 1)

    def _elements(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        if value.size <= LARGEST and value.flags.writeable:
            self._containers.append(Elements(value))

    def _iterator(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        self.iterators.append((value, position(value)))

    def _items(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        kept = Items(value)
        self._containers.append(kept)
        if depth and len(kept.before) <= LARGEST:
            for item in kept.before:
                self._follow(item, depth - 1)


def _around(container: int, key: Any, path: Path) -> Iterator[Place]:
    """The places of everything that what is at a place is held by, or is the length of."""
    inside = path[:-1] if path[-1:] == (LENGTH,) else path
    if key is not None:
        yield container, None, ()
        yield from ((container, key, inside[:length]) for length in range(len(inside)))


def _holds_fake(value: Any, depth: int = 4) -> bool:
    """Whether a value is a tensor without content, or a container that reaches one."""
    if isinstance(value, FakeTensor):
        return True
    if not depth or issubclass(type(value), (*_NOT_FOLLOWED, FunctionType)):
        return False
    return any(_holds_fake(item, depth - 1) for item in gc.get_referents(value))
