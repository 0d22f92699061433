"""Collections that SambaFlow programs use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from typing import Any


class OrderedSet(MutableSet[Any]):
    """A set in order of insertion. Elements that compare elementwise, as tensors do, are told apart by identity."""

    def __init__(self, elements: Iterable[Any] = ()) -> None:
        self._elements: dict[Any, Any] = {}
        for element in elements:
            self.add(element)

    def __contains__(self, element: object) -> bool:
        return _key(element) in self._elements

    def __iter__(self) -> Iterator[Any]:
        return iter(self._elements.values())

    def __len__(self) -> int:
        return len(self._elements)

    def add(self, element: Any) -> None:
        """Add an element at the end unless it is there."""
        self._elements.setdefault(_key(element), element)

    def discard(self, element: Any) -> None:
        """Remove an element if it is there."""
        self._elements.pop(_key(element), None)

    def update(self, *others: Iterable[Any]) -> None:
        """Add the elements of others."""
        for other in others:
            for element in other:
                self.add(element)

    def union(self, *others: Iterable[Any]) -> OrderedSet:
        """A new set with the elements of others added."""
        result = OrderedSet(self)
        result.update(*others)
        return result

    def difference(self, *others: Iterable[Any]) -> OrderedSet:
        """A new set without the elements of others."""
        unwanted = OrderedSet().union(*others)
        return OrderedSet(element for element in self if element not in unwanted)

    def __getitem__(self, position: int) -> Any:
        return list(self)[position]

    def __repr__(self) -> str:
        return f"OrderedSet({list(self)!r})"


def _key(element: Any) -> Any:
    """What tells elements apart: tensors by identity, tuples by their parts, others by themselves."""
    if isinstance(element, tuple):
        return tuple(map(_key, element))
    if hasattr(element, "data_ptr"):
        return ("tensor", id(element))
    return element
