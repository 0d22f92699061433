"""What a model's code keeps from one call to the next: attributes of modules, and caches beside them.

Tracing runs forward on tensors without content. A rotary table or a mask that forward keeps for later would be such a
tensor, and break the next call; so everything is put back afterwards.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

_OWN = Path(__file__).resolve().parent.parent.parent
_HOUSE = tuple(f"{_OWN / name}/" for name in ("compiler", "ir", "backends", "pef", "runtime", "sambaflow"))
_STDLIB = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = frozenset({"site-packages", "dist-packages"})

DEPTH = 4
"""How far containers in containers are followed."""

LARGEST = 10_000
"""Items of a container whose own items are followed: larger ones hold data, not caches."""

_ATOMS = (str, bytes, int, float, complex, bool, type(None), Tensor, nn.Module, ModuleType, torch.dtype, torch.device)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Afterwards the attributes of `model` and its modules are as before; and so are the globals, class attributes and
    caches of the code that they come from, where tensors without content have been put there."""
    attributes, surroundings = _Kept(), _Kept()
    for module in model.modules():
        attributes.mapping(vars(module), DEPTH)
    for source in _sources(model):
        surroundings.module(source)
    try:
        yield
    finally:
        attributes.restore()
        if surroundings.holds_fake():
            surroundings.restore()
        for cache in surroundings.caches:
            if _holds_fake(cache):
                cache.cache_clear()


def _sources(model: nn.Module) -> list[ModuleType]:
    """The user's own Python modules, and those of the packages that the model's classes come from."""
    classes = {cls for module in model.modules() for cls in type(module).__mro__}
    packages = {cls.__module__.partition(".")[0] for cls in classes} - {"torch", "builtins", "sambaflow", "typing"}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or not isinstance(file, str) or file.startswith(_HOUSE):
            continue
        if name.partition(".")[0] in packages or not (file.startswith(_STDLIB) or _INSTALLED & {*Path(file).parts}):
            found.append(module)
    return found


@dataclass(frozen=True)
class _Container:
    """Something that held `before`; `now` reads what it holds, `undo` puts the former content back."""

    before: dict[Any, Any]
    now: Callable[[], dict[Any, Any]]
    undo: Callable[[], None]

    @property
    def added(self) -> list[Any]:
        """What it holds that it did not."""
        return [value for key, value in self.now().items() if self.before.get(key, self) is not value]


class _Kept:
    """Copies of containers, and `caches` of functions."""

    def __init__(self) -> None:
        self.caches: list[Any] = []
        self._containers: list[_Container] = []
        self._seen: set[int] = set()

    def holds_fake(self) -> bool:
        """Whether a tensor without content has got into one of the containers."""
        return any(_holds_fake(value) for container in self._containers for value in container.added)

    def restore(self) -> None:
        """Put back what was there."""
        for container in self._containers:
            container.undo()

    def module(self, module: ModuleType) -> None:
        """The globals of a Python module, its functions and its classes."""
        self.mapping(vars(module), 2)
        for value in list(vars(module).values()):
            self._function(value)
            if type(value) is type and value.__module__ == module.__name__:
                self._class(value)

    def _class(self, cls: type) -> None:
        before = dict(vars(cls))
        self._containers.append(_Container(before, lambda: dict(vars(cls)), lambda: _restore_class(cls, before)))
        for value in before.values():
            self._function(value.__func__ if isinstance(value, (staticmethod, classmethod)) else value)
            self._follow(value, 2)

    def _function(self, function: Any) -> None:
        """What a function keeps: in its cache, its default arguments, its attributes, or the scope around it."""
        if type(function) is _lru_cache_wrapper:
            self.caches.append(function)
        if type(function) is not FunctionType or id(function) in self._seen:
            return
        self._seen.add(id(function))
        self.mapping(vars(function), 2)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        for value in (*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._function(value) if type(value) is _lru_cache_wrapper else self._follow(value, 2)

    def mapping(self, mapping: dict[Any, Any], depth: int) -> None:
        """A dict, and what it holds."""
        if id(mapping) in self._seen:
            return
        self._seen.add(id(mapping))
        before = dict(mapping)
        self._containers.append(_Container(before, lambda: dict(mapping), lambda: _restore_mapping(mapping, before)))
        if len(before) <= LARGEST:
            for value in before.values():
                self._follow(value, depth - 1)

    def _follow(self, value: Any, depth: int) -> None:
        kind = type(value)  # not isinstance: reading the attributes of an object may run code of its own
        if depth < 0 or issubclass(kind, (*_ATOMS, type, FunctionType)) or id(value) in self._seen:
            return
        if kind in (dict, OrderedDict, defaultdict):
            self.mapping(value, depth)
        elif kind in (list, deque, set):
            self._items(value, depth)
        elif kind is tuple:
            for item in value:
                self._follow(item, depth - 1)
        elif _is_users(kind) and kind.__dictoffset__:
            self.mapping(object.__getattribute__(value, "__dict__"), depth)

    def _items(self, value: Any, depth: int) -> None:
        self._seen.add(id(value))
        before = list(value)
        self._containers.append(
            _Container(dict(enumerate(before)), lambda: dict(enumerate(value)), lambda: _restore_items(value, before))
        )
        if len(before) <= LARGEST:
            for item in before:
                self._follow(item, depth - 1)


def _is_users(cls: type) -> bool:
    """Whether a class is neither Python's nor PyTorch's, whose objects look after themselves."""
    return cls.__module__.partition(".")[0] not in {"torch", *sys.stdlib_module_names}


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _restore_mapping(mapping: dict[Any, Any], before: dict[Any, Any]) -> None:
    for key in [key for key in mapping if key not in before]:
        del mapping[key]
    for key, value in before.items():
        if mapping.get(key, mapping) is not value:
            mapping[key] = value


def _restore_items(value: Any, before: list[Any]) -> None:
    if len(value) != len(before) or any(now is not then for now, then in zip(value, before)):
        value.clear()
        value.update(before) if isinstance(value, set) else value.extend(before)


def _restore_class(cls: type, before: dict[str, Any]) -> None:
    for name, value in dict(vars(cls)).items():
        if name.startswith("__"):
            continue
        if name not in before:
            delattr(cls, name)
        elif before[name] is not value:
            setattr(cls, name, before[name])


def _holds_fake(value: Any, depth: int = 4) -> bool:
    """Whether a value is a tensor without content, or a container that reaches one."""
    if isinstance(value, FakeTensor):
        return True
    if not depth or issubclass(type(value), (*_ATOMS, type, FunctionType)):
        return False
    return any(_holds_fake(item, depth - 1) for item in gc.get_referents(value))
