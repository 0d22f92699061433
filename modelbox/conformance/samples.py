"""Inputs for a model of which nothing is known but its metadata."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

KINDS = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


def sample(tensor: dict[str, Any]) -> dict[str, Any]:
    """An input as JSON: open extents are 1; numbers are small; data is flat, in row-major order."""
    shape = [1 if extent < 0 else int(extent) for extent in tensor["shape"]]
    count = math.prod(shape)
    datatype = tensor["datatype"]
    if datatype == "BYTES":
        data: list[Any] = ["a"] * count
    elif datatype == "BOOL":
        data = [number % 2 == 0 for number in range(count)]
    elif datatype.startswith(("FP", "BF")):
        data = [number % 8 / 8 for number in range(count)]
    else:
        data = [number % 2 for number in range(count)]
    return {"name": tensor["name"], "datatype": datatype, "shape": shape, "data": data}


def nested(data: list[Any], shape: list[int]) -> Any:
    """Flat data as nested lists."""
    array = np.empty(len(data), object)
    array[:] = data
    return array.reshape(shape).tolist()


def raw(datatype: str, data: list[Any]) -> bytes:
    """As little-endian bytes; BYTES have their length, four bytes, before each. Raises KeyError for other types."""
    if datatype == "BYTES":
        texts = [str(text).encode() for text in data]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    kind = np.dtype(KINDS[datatype]).newbyteorder("<")
    return np.array(data).astype(kind).tobytes()
