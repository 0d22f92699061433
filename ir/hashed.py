"""Constants that are looked up so often that their hash is worked out once."""

from __future__ import annotations

from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def hashed_once(cls: C) -> C:
    """A frozen dataclass without slots whose objects remember their hash.

    Copies in another process work it out again: hashes of text differ from one process to the next.
    """
    generated: Any = cls.__hash__

    def remembered(self: Any) -> int:
        known = self.__dict__.get("_hash")
        if known is None:
            known = self.__dict__["_hash"] = generated(self)
        return int(known)

    def state(self: Any) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    cls.__hash__ = remembered  # type: ignore[assignment]
    cls.__getstate__ = state  # type: ignore[attr-defined]
    return cls
