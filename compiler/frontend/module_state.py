"""Lending tensors to a model for a trace, and leaving everything that the model holds as it was before."""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from typing import Any

from torch import Tensor, nn

CONTAINERS = (dict, list, set, OrderedDict, defaultdict)
TABLES = ("_parameters", "_buffers", "_modules")
"""Where a module keeps what it registers."""


class Holdings:
    """What the modules of a model hold, what the Python files that define them keep in global containers, and how much
    their caches hold."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.attributes = {path: dict(vars(module)) for path, module in self.modules.items()}
        classes = {type(module): None for module in self.modules.values()}
        files = {name: None for name in (kind.__module__ for kind in classes) if not name.startswith("torch.")}
        names = [_own(vars(sys.modules[name])) for name in files if name in sys.modules]
        held = [value for table in (*self.attributes.values(), *names) for value in table.values()]
        containers = {id(value): value for value in held if type(value) in CONTAINERS}
        self.containers = [(value, value.copy()) for value in containers.values()]
        functions = [value for table in (*names, *map(vars, classes)) for value in table.values()]
        caches = {id(value): value for value in functions if isinstance(value, _lru_cache_wrapper)}
        self.caches = [(cache, cache.cache_info().currsize) for cache in caches.values()]

    def tensors(self) -> list[Tensor]:
        """Tensors that are plain attributes, or in containers that are."""
        return [tensor for path, held in self.attributes.items() for _, tensor in _tensors(held, path)]

    def replaced(self) -> dict[int, str]:
        """Tensors that were plain attributes, or in containers that were, and are no more: their names by their ids."""
        now = {id(tensor) for path, module in self.modules.items() for _, tensor in _tensors(vars(module), path)}
        before = [pair for path, held in self.attributes.items() for pair in _tensors(held, path)]
        inside = {id(container): content for container, content in self.containers}
        before += [
            (f"{path}.{name}".removeprefix("."), tensor)
            for path, held in self.attributes.items()
            for name, value in held.items()
            for _, tensor in _tensors({name: inside.get(id(value))}, path)
        ]
        return {id(tensor): name for name, tensor in before if id(tensor) not in now}

    def restore(self) -> None:
        """Everything as it was when this was made; a cache that has grown is emptied."""
        for path, module in self.modules.items():
            module.__dict__.clear()
            module.__dict__.update(self.attributes[path])
        for container, content in self.containers:
            if not _same(container, content):
                container.clear()
                container.extend(content) if isinstance(container, list) else container.update(content)
        for cache, size in self.caches:
            if cache.cache_info().currsize != size:
                cache.cache_clear()


def _tensors(held: Mapping[str, Any], path: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors among a module's plain attributes, and in containers among them, with the attribute's path."""
    for name, value in held.items():
        if name in TABLES:
            continue
        inside = value.values() if type(value) in (dict, OrderedDict, defaultdict) else value
        for item in inside if type(value) in (*CONTAINERS, tuple) else (value,):
            if isinstance(item, Tensor):
                yield f"{path}.{name}".removeprefix("."), item


def _own(names: dict[str, Any]) -> dict[str, Any]:
    """The names of a Python file without those that Python puts there."""
    return {name: value for name, value in names.items() if not name.startswith("__")}


def _same(container: Any, content: Any) -> bool:
    """Whether two containers hold the same objects."""
    if len(container) != len(content) or isinstance(container, set):
        return bool(container == content)
    pairs = zip(container.items(), content.items()) if isinstance(container, dict) else zip(container, content)
    if isinstance(container, dict):
        return all(a == b and first is second for (a, first), (b, second) in pairs)
    return all(a is b for a, b in pairs)


@contextmanager
def lent(model: nn.Module, replacements: Mapping[int, Tensor]) -> Iterator[Holdings]:
    """Every tensor that the model's modules hold replaced by the one under its id, also in lists, tuples and dicts."""
    held = Holdings(model)
    try:
        for module in held.modules.values():
            for table in (module._parameters, module._buffers):
                table.update({name: _replaced(value, replacements) for name, value in table.items()})
            own = {name: value for name, value in vars(module).items() if name not in TABLES}
            module.__dict__.update({name: _replaced(value, replacements) for name, value in own.items()})
        yield held
    finally:
        held.restore()


def _replaced(value: Any, replacements: Mapping[int, Tensor]) -> Any:
    """The value with tensors in it replaced, in containers of their own; the very same where there are none."""
    if isinstance(value, Tensor):
        return replacements.get(id(value), value)
    if type(value) is dict:
        found: Any = {key: _replaced(item, replacements) for key, item in value.items()}
        return found if any(found[key] is not item for key, item in value.items()) else value
    if type(value) in (list, tuple):
        found = type(value)(_replaced(item, replacements) for item in value)
        return found if any(new is not old for new, old in zip(found, value)) else value
    return value
