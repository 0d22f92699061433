"""Between the project's types and their protobuf records: tensor types, operators, machines."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import ir.ops  # noqa: F401  (registers every operator)
from ir.errors import PefError, Problem
from ir.graph import SectionKind
from ir.op import OPS, Attribute, CostClass, Op
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.cycles import Parallelism, StageWork, TileOperation
from pef.machine import Machine, Tier

_FIELDS = {bool: "flag", int: "integer", float: "real", str: "text", DType: "dtype"}
"""Where `Attribute` holds values of a type; tuples of integers are in `integers`."""


def encode_type(tensor: TensorType) -> pb.TensorType:
    """A tensor type as a record."""
    return pb.TensorType(dtype=tensor.dtype.value, shape=tensor.shape)


def decode_type(record: pb.TensorType) -> TensorType:
    """The tensor type in a record. Raises PefError for an element type this version does not know."""
    return _tensor_type(record.dtype, tuple(record.shape))


@functools.lru_cache(maxsize=1 << 14)
def _tensor_type(dtype: str, shape: tuple[int, ...]) -> TensorType:
    if dtype not in DType._value2member_map_:
        raise PefError(f"unknown element type {dtype!r}")
    return TensorType(DType(dtype), shape)


def encode_op(op: Op, operands: Sequence[int], results: Sequence[int]) -> pb.Operation:
    """An operator applied to values of a stage, by their indices."""
    kinds = declared_attributes(op.name)
    attributes = [_encode_attribute(name, kinds[name], value) for name, value in op.attributes().items()]
    return pb.Operation(op=op.name, attributes=attributes, operands=operands, results=results)


def decode_op(record: pb.Operation) -> Op:
    """The operator in a record. Raises PefError for an operator or attributes this version does not know."""
    return _op(pb.Operation(op=record.op, attributes=record.attributes).SerializeToString())


@functools.lru_cache(maxsize=1 << 14)
def _op(serialized: bytes) -> Op:
    record = pb.Operation.FromString(serialized)
    if record.op not in OPS:
        raise PefError(Problem(f"unknown operator {record.op!r}", hint="recompile the model with this toolchain"))
    declared = declared_attributes(record.op)
    given = [attribute.name for attribute in record.attributes]
    if sorted(given) != sorted(declared):
        taken = ", ".join(declared) or "none"
        raise PefError(f"operator {record.op!r} takes the attributes {taken}, not {', '.join(given) or 'none'}")
    for attribute in record.attributes:
        kind, expected = attribute.WhichOneof("value"), declared[attribute.name]
        if kind != expected:
            what = f"attribute {attribute.name!r} of operator {record.op!r}"
            raise PefError(
                f"{what} has no value" if kind is None else f"{what} takes a value of kind {expected}, not {kind}"
            )
    return OPS[record.op](**{attribute.name: _decode_attribute(attribute) for attribute in record.attributes})


@functools.cache
def declared_attributes(op: str) -> dict[str, str]:
    """For each attribute that an operator declares, the field of `Attribute` that holds values of its type."""
    types = get_type_hints(OPS[op])
    return {field.name: _FIELDS.get(types[field.name], "integers") for field in fields(OPS[op])}  # type: ignore[arg-type]


def _encode_attribute(name: str, kind: str, value: Any) -> pb.Attribute:
    if kind == "integers":
        return pb.Attribute(name=name, integers=pb.Integers(values=value))
    record = pb.Attribute(name=name)
    setattr(record, kind, value.value if kind == "dtype" else value)
    return record


def _decode_attribute(record: pb.Attribute) -> Attribute:
    kind = record.WhichOneof("value")
    if kind == "dtype":
        return decode_type(pb.TensorType(dtype=record.dtype)).dtype
    if kind == "integers":
        return tuple(record.integers.values)
    value: bool | int | float | str = getattr(record, str(kind))
    return value


def encode_machine(machine: Machine) -> pb.Machine:
    """A machine as a record."""
    values = {field.name: getattr(machine, field.name) for field in fields(machine)}
    values["tiers"] = [
        pb.Tier(name=t.name, capacity_bytes=t.capacity_bytes, bandwidth_bytes_per_s=t.bandwidth_bytes_per_s)
        for t in machine.tiers
    ]
    return pb.Machine(**values)


def decode_machine(record: pb.Machine) -> Machine:
    """The machine in a record."""
    values = {field.name: getattr(record, field.name) for field in fields(Machine)}
    values["tiers"] = tuple(Tier(t.name, t.capacity_bytes, t.bandwidth_bytes_per_s) for t in record.tiers)
    values["faulty_sites"] = tuple(record.faulty_sites)
    values["agcu_sites"] = tuple(record.agcu_sites)
    return Machine(**values)


def tile_operations(owner: pb.Stage | pb.Stream) -> list[TileOperation]:
    """The operators of a stage or stream with the types of their tiles."""
    types = [decode_type(value.type) for value in owner.values]
    return [
        TileOperation(decode_op(o), tuple(types[i] for i in o.operands), tuple(types[i] for i in o.results))
        for o in owner.operations
    ]


def stage_work(stage: pb.Stage) -> StageWork:
    """What one tile asks of the stage."""
    return StageWork.of(tile_operations(stage))


def parallelism(stage: pb.Stage) -> Parallelism:
    """How the stage is spread over its PCUs."""
    return Parallelism(stage.batch_parallel, stage.row_parallel, stage.column_parallel, stage.chain)


def product_side(stage: pb.Stage, port: pb.Port) -> int | None:
    """0 or 1 where the port feeds the left or right operand of the stage's product, else None."""
    return side_of_product(((decode_op(o), o.operands, o.results) for o in stage.operations), port.value)


def side_of_product(operations: Iterable[tuple[Op, Sequence[int], Sequence[int]]], value: int) -> int | None:
    """0 or 1 where the value is the left or right operand of the operations' product, else None.

    An operand may reach the product through free operators.
    """
    reached = {value}
    for op, operands, results in operations:
        if not op.is_free:
            if op.cost.kind is CostClass.SYSTOLIC:
                sides = [side for side, operand in enumerate(operands) if operand in reached]
                return sides[0] if sides else None
            continue
        if reached.intersection(operands):
            reached.update(results)
    return None


def section_kinds(pef: pb.Pef) -> set[SectionKind]:
    """The section types that a PEF has, of those that are known here; it need not have been checked."""
    written = {section.kind for section in pef.sections}
    return {kind for kind in SectionKind if kind.value in written}
