"""Lending tensors to a model for a trace, and giving it back its own."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

CONTAINERS = (dict, list, set, OrderedDict, defaultdict)
TABLES = ("_parameters", "_buffers", "_modules")
"""Where a module keeps what it registers."""


class Attributes:
    """What the modules of a model hold besides parameters and buffers, and which buffers are None."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.before = {path: _unregistered(module) for path, module in self.modules.items()}

    def changed(self) -> list[tuple[str, str]]:
        """The module's path and the name of every attribute that is another than when this was made."""
        return [
            (path, name)
            for path, module in self.modules.items()
            for name, value in _unregistered(module).items()
            if name not in self.before[path] or not _same(self.before[path][name], value)
        ]


def _unregistered(module: nn.Module) -> dict[str, Any]:
    """A module's attributes and submodules, and of its buffers whether there is one; containers are copied."""
    own = {name: value for name, value in vars(module).items() if name not in TABLES} | module._modules
    own |= {name: buffer is None for name, buffer in module._buffers.items()}
    return {name: value.copy() if type(value) in CONTAINERS else value for name, value in own.items()}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one object, equal numbers or texts, or containers of such."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, (bool, int, float, complex, str, bytes)):
        return bool(one == other)
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, set) and set(map(id, one)) == set(map(id, other))


class Holdings:
    """What the modules of a model hold as attributes, and what containers among these hold."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.attributes = {path: dict(vars(module)) for path, module in self.modules.items()}
        held = [value for table in self.attributes.values() for value in table.values()]
        containers = {id(value): value for value in held if type(value) in CONTAINERS}
        self.containers = [(value, value.copy()) for value in containers.values()]

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
        """Everything as it was when this was made."""
        for path, module in self.modules.items():
            module.__dict__.clear()
            module.__dict__.update(self.attributes[path])
        for container, content in self.containers:
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)


def _tensors(held: Mapping[str, Any], path: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors among a module's plain attributes, and in containers among them, with the attribute's path."""
    for name, value in held.items():
        if name in TABLES:
            continue
        inside = value.values() if type(value) in (dict, OrderedDict, defaultdict) else value
        for item in inside if type(value) in (*CONTAINERS, tuple) else (value,):
            if isinstance(item, Tensor):
                yield f"{path}.{name}".removeprefix("."), item


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
