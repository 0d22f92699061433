"""Random changes to any protobuf record, chosen from its descriptors: no field is known here by name.

A change picks a field of the schema first and one of its occurrences then, so that rare fields are changed as often as
common ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (0, 9),
}
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e-308, 1e30, 1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x", "é", "[/a]", "\x00", "\x1b[2J", "../../x", "x" * 5000, "{", "[" * 3000)


@dataclass(frozen=True)
class Change:
    """What was done to which field."""

    field: str
    action: str

    def __str__(self) -> str:
        return f"{self.action} {self.field}"


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field holds a list. Protobuf 6.30 says it as a label, which 7 no longer has."""
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED


def mutate(record: Message, pick: random.Random) -> Change:
    """Change one thing in `record`."""
    places = _places(record)
    name = pick.choice(sorted(places))
    owner, field = pick.choice(places[name])
    action = pick.choice(_actions(owner, field))
    _ACTIONS[action](owner, field, pick, places)
    return Change(name, action)


Place = tuple[Message, FieldDescriptor]
Places = dict[str, list[Place]]


def _places(record: Message) -> Places:
    """Every field that holds something, or that could, by its full name in the schema."""
    found: Places = defaultdict(list)
    for owner in _messages(record):
        for field in owner.DESCRIPTOR.fields:
            if is_repeated(field) or field.message_type is None or owner.HasField(field.name):
                found[field.full_name].append((owner, field))
    return found


def _messages(record: Message) -> Iterator[Message]:
    yield record
    for field, value in record.ListFields():
        if field.message_type is not None:
            for inner in value if is_repeated(field) else (value,):
                yield from _messages(inner)


def _actions(owner: Message, field: FieldDescriptor) -> list[str]:
    value = getattr(owner, field.name)
    if not is_repeated(field):
        return ["clear", "replace"] if field.message_type is not None else ["clear", *["set"] * 6]
    if not value:
        return ["borrow"]
    actions = ["drop", "repeat", "borrow", "clear"]
    if len(value) > 1:
        actions += ["swap", "swap"]
    return actions if field.message_type is not None else [*actions, *["set_one"] * 6]


def _clear(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    owner.ClearField(field.name)


def _set(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    setattr(owner, field.name, _other(getattr(owner, field.name), field, pick, places))


def _set_one(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    values = getattr(owner, field.name)
    index = pick.randrange(len(values))
    values[index] = _other(values[index], field, pick, places)


def _replace(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    """Another message of the same field, from elsewhere in the record."""
    other, _ = pick.choice(places[field.full_name])
    copied = type(other)()
    copied.CopyFrom(other)
    getattr(owner, field.name).CopyFrom(getattr(copied, field.name))


def _drop(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    values = getattr(owner, field.name)
    del values[pick.randrange(len(values))]


def _repeat(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    values = list(getattr(owner, field.name))
    values.insert(pick.randrange(len(values) + 1), pick.choice(values))
    _put(owner, field, values)


def _borrow(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    """One more element, from the same field elsewhere in the record."""
    lenders = [getattr(other, field.name) for other, _ in places[field.full_name] if len(getattr(other, field.name))]
    if lenders:
        _put(owner, field, [*getattr(owner, field.name), pick.choice(pick.choice(lenders))])


def _swap(owner: Message, field: FieldDescriptor, pick: random.Random, places: Places) -> None:
    values = list(getattr(owner, field.name))
    first, second = pick.sample(range(len(values)), 2)
    values[first], values[second] = values[second], values[first]
    _put(owner, field, values)


def _put(owner: Message, field: FieldDescriptor, values: list[object]) -> None:
    copies = type(owner)()
    getattr(copies, field.name).extend(values)
    owner.ClearField(field.name)
    getattr(owner, field.name).extend(getattr(copies, field.name))


def _other(value: object, field: FieldDescriptor, pick: random.Random, places: Places) -> object:
    """Another value of a scalar: near the old one, at a limit, one that stands elsewhere, or any."""
    if pick.random() < 0.3:
        elsewhere = [getattr(other, field.name) for other, _ in places[field.full_name]]
        values = [one for many in elsewhere for one in many] if is_repeated(field) else elsewhere
        return pick.choice(values)
    if field.cpp_type in LIMITS:
        return _other_integer(int(value), *LIMITS[field.cpp_type], pick)  # type: ignore[call-overload]
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if field.type == FieldDescriptor.TYPE_BYTES:
        return pick.randbytes(pick.choice([0, 1, 32]))
    if field.type == FieldDescriptor.TYPE_STRING:
        return pick.choice(TEXTS)
    assert isinstance(value, float)
    return pick.choice([*REALS, value * 2, value / 2, -value, value + 1])


def _other_integer(value: int, low: int, high: int, pick: random.Random) -> int:
    near = [value - 1, value + 1, value * 2, value // 2, 0, 1, 2]
    drawn = pick.choice([*near, low, high, pick.randint(low, high), pick.randint(0, 70)])
    return min(max(drawn, low), high)


_ACTIONS = {
    "clear": _clear,
    "set": _set,
    "set_one": _set_one,
    "replace": _replace,
    "drop": _drop,
    "repeat": _repeat,
    "borrow": _borrow,
    "swap": _swap,
}
