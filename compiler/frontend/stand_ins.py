"""Classes that stand for others while a model is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def class_like(real: Any, make: Callable[..., Any], methods: dict[str, Any] | None = None) -> Any:
    """A class that stands for `real`, whose objects are of the real one: `make` makes them, of what the class is called
    with. It has other `methods`."""

    class Kind(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, real)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, real)

    def new(cls: type, *arguments: Any, **named: Any) -> Any:
        return make(*arguments, **named)

    return Kind(real.__name__, (real,), {"__new__": new, "__module__": real.__module__, **(methods or {})})
