"""Which torch function a samba function stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

IMPLEMENTATIONS: dict[Any, Callable[..., Any]] = {}
"""From torch functions to the samba functions declared for them."""


def implements(*torch_functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as samba's form of torch functions."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        IMPLEMENTATIONS.update(dict.fromkeys(torch_functions, function))
        return function

    return register


def torch_annotations(function: Callable[..., Any]) -> Callable[..., Any]:
    """Accepted: the function as it is."""
    return function
