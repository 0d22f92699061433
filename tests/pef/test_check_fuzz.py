"""Whatever is in its fields, a record is accepted or refused: the checker never stumbles."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ir.errors import IllegalPefError
from pef.check import check
from tests.mutants.structure import is_repeated
from tests.pef.samples import SAMPLES

INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 9),
}


def other_value(draw: st.DrawFn, field: FieldDescriptor) -> object:
    """Any value of a scalar field, small integers more often than not."""
    if field.cpp_type in INTEGERS:
        low, high = INTEGERS[field.cpp_type]
        return draw(st.one_of(st.integers(max(low, -2), min(high, 70)), st.integers(low, high)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if field.type == FieldDescriptor.TYPE_STRING:
        return draw(st.sampled_from(["", "sum", "matmul", "reshape", "slice", "full", "bf16", "bool", "dims", "é"]))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(st.binary(max_size=40))
    return draw(st.floats())


def may_change(record: Message, field: FieldDescriptor) -> bool:
    """Whether a field holds something to change: a scalar always does."""
    if is_repeated(field):
        return len(getattr(record, field.name)) > 0
    return field.message_type is None or record.HasField(field.name)


def mutate(draw: st.DrawFn, record: Message) -> None:
    """Walk down from `record` along random fields and change, drop, repeat or clear what is there."""
    field = draw(st.sampled_from([field for field in record.DESCRIPTOR.fields if may_change(record, field)]))
    value = getattr(record, field.name)
    if draw(st.integers(0, 15)) == 0:
        record.ClearField(field.name)
    elif is_repeated(field):
        index = draw(st.integers(0, len(value) - 1))
        action = draw(st.integers(0, 9))
        if action == 0:
            del value[index]
        elif action == 1:
            value.append(value[index])
        elif isinstance(value[index], Message):
            mutate(draw, value[index])
        else:
            value[index] = other_value(draw, field)
    elif isinstance(value, Message):
        mutate(draw, value)
    else:
        setattr(record, field.name, other_value(draw, field))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(sorted(SAMPLES)), st.integers(1, 3))
def test_mutants_are_accepted_or_refused(data: st.DataObject, name: str, changes: int) -> None:
    pef = SAMPLES[name]()
    for _ in range(changes):
        data.draw(st.composite(lambda draw: mutate(draw, pef))())
    try:
        check(pef)
    except IllegalPefError as error:
        assert all(problem.message and problem.where for problem in error.problems)
