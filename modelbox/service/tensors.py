"""Tensors as the Open Inference Protocol writes them: datatypes, raw bytes, and JSON."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ir.op import Array
from ir.types import DType
from modelbox.refusal import Reason, Refusal

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BF16, BYTES = "BF16", "BYTES"
DATATYPES = (*NUMPY, BF16, BYTES)

DEVICE = {DType.F32: "FP32", DType.BF16: "FP32", DType.I32: "INT32", DType.I8: "INT8", DType.BOOL: "BOOL"}
"""What is said of a device's element types; bf16 goes in and out as float32, exactly."""

MOST_DIMS = 32
"""Of an array, in NumPy."""


@dataclass(frozen=True)
class Described:
    """A tensor in a model's metadata; -1 is any extent."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def require_shape(name: str, datatype: str, shape: Sequence[Any]) -> tuple[int, ...]:
    """A request's shape. Raises Refusal for what is not a shape, and for unknown datatypes."""
    if datatype not in DATATYPES:
        raise Refusal(Reason.INVALID, f"{name}: there is no datatype {datatype!r}: use one of {', '.join(DATATYPES)}")
    whole = all(isinstance(extent, int) and not isinstance(extent, bool) and 0 <= extent < 2**31 for extent in shape)
    if not whole or len(shape) > MOST_DIMS:
        raise Refusal(Reason.INVALID, f"{name}: {list(shape)[:MOST_DIMS]} is not a shape")
    return tuple(shape)


def from_raw(name: str, datatype: str, shape: Sequence[Any], raw: bytes | memoryview) -> Array:
    """An array from its bytes; bf16 as float32, BYTES as objects. Raises Refusal where the size does not match."""
    extents = require_shape(name, datatype, shape)
    if datatype == BYTES:
        return _of_strings(name, extents, _split(name, raw))
    width = 2 if datatype == BF16 else NUMPY[datatype].itemsize
    if len(raw) != prod(extents) * width:
        what = f"{name}: {datatype}{list(extents)} takes {prod(extents) * width} bytes, and {len(raw)} were given"
        raise Refusal(Reason.INVALID, what)
    if datatype == BF16:
        bits = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(extents)
    if datatype == "BOOL" and np.frombuffer(raw, np.uint8).max(initial=0) > 1:
        raise Refusal(Reason.INVALID, f"{name}: each byte of a BOOL is 0 or 1")
    return np.frombuffer(raw, NUMPY[datatype]).reshape(extents)


def from_list(name: str, datatype: str, shape: Sequence[Any], data: Any) -> Array:
    """An array from JSON's numbers, flat or nested. Raises Refusal for what is not as datatype and shape say."""
    extents = require_shape(name, datatype, shape)
    if datatype in (BF16, "FP16"):
        raise Refusal(Reason.INVALID, f"{name}: {datatype} is given as raw bytes alone")
    flat = _flattened(data) if isinstance(data, list) else [data]
    if len(flat) != prod(extents):
        what = f"{name}: {datatype}{list(extents)} has {prod(extents)} elements, and {len(flat)} were given"
        raise Refusal(Reason.INVALID, what)
    if datatype == BYTES:
        if not all(isinstance(value, str) for value in flat):
            raise Refusal(Reason.INVALID, f"{name}: elements of BYTES are texts")
        return _of_strings(name, extents, [value.encode() for value in flat])
    dtype = NUMPY[datatype]
    kinds: dict[str, set[type]] = {"b": {bool}, "f": {int, float}}
    if not set(map(type, flat)) <= kinds.get(dtype.kind, {int}):
        raise Refusal(Reason.INVALID, f"{name}: not all elements are of {datatype}")
    try:
        array = np.array(flat, dtype)
    except OverflowError as error:
        raise Refusal(Reason.INVALID, f"{name}: an element is out of the range of {datatype}") from error
    return array.reshape(extents)


def to_raw(datatype: str, array: Array) -> bytes:
    """The bytes of an array, row-major and little endian."""
    if datatype == BYTES:
        return b"".join(struct.pack("<I", len(value)) + value for value in array.reshape(-1))
    return np.ascontiguousarray(array, NUMPY[datatype]).tobytes()


def to_list(name: str, datatype: str, array: Array) -> list[Any]:
    """The elements for JSON, exactly. Raises Refusal for numbers that JSON has not."""
    if datatype == BYTES:
        return [value.decode("utf-8", "replace") for value in array.reshape(-1)]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refusal(Reason.CONFLICT, f"{name} is not finite everywhere, which JSON cannot say: ask for binary data")
    found: list[Any] = array.reshape(-1).tolist()
    return found


def as_device(name: str, array: Array, datatype: str) -> Array:
    """A request's array in the model's datatype. Raises Refusal where that would lose values or is of another kind."""
    wanted = NUMPY[datatype]
    if array.dtype == wanted:
        return array
    integers = array.dtype.kind in "iu" and wanted.kind in "iu"
    if not integers and not (array.dtype.kind == "f" and wanted.kind == "f"):
        raise Refusal(Reason.INVALID, f"{name} is of {datatype}, not of {array.dtype}")
    if integers and array.size:
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise Refusal(Reason.INVALID, f"{name}: an element is out of the range of {datatype}")
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def _flattened(data: list[Any]) -> list[Any]:
    """The elements of nested lists; as a loop, because a request can nest deeper than Python's stack."""
    if list not in map(type, data):
        return data
    found, stack = [], [iter(data)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, list):
                stack.append(iter(value))
                break
            found.append(value)
        else:
            stack.pop()
    return found


def _split(name: str, raw: bytes | memoryview) -> list[bytes]:
    """Elements of BYTES: each with its length before it."""
    found, place = [], 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise Refusal(Reason.INVALID, f"{name}: the bytes end within a length")
        (size,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + size > len(raw):
            raise Refusal(Reason.INVALID, f"{name}: the bytes end within an element")
        found.append(bytes(raw[place : place + size]))
        place += size
    return found


def _of_strings(name: str, shape: tuple[int, ...], values: list[bytes]) -> Array:
    if len(values) != prod(shape):
        raise Refusal(Reason.INVALID, f"{name}: {list(shape)} has {prod(shape)} elements, and {len(values)} were given")
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)
