"""Tensors in safetensors files, in memory: bf16, written bit by bit as the device holds it, arrives as float32."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ir.errors import Problem, UsageError
from ir.op import Array
from ir.rounding import widen
from pef.uniform import uniform_tensors

_READ_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_file(path: Path) -> bytes:
    """All bytes of a file. Raises UsageError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(Problem(f"{path} does not exist", hint="check the path")) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(Problem(f"{path} cannot be read: {reason}", hint="check its permissions")) from error


def decode_safetensors(path: Path, content: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors and the metadata of a safetensors file with this content; bf16 as float32.

    Raises UsageError where it is damaged. The format has no checksum: damage to the numbers is not seen.
    """
    from safetensors import SafetensorError, deserialize

    try:
        tensors = {name: _decoded(name, entry) for name, entry in deserialize(content)}  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__") or {}
        tensors |= uniform_tensors(metadata)
    except (SafetensorError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(Problem(f"{path} cannot be read: {reason}", hint="write or copy the file again")) from error
    return tensors, metadata


def _decoded(name: str, entry: Mapping[str, Any]) -> Array:
    if entry["dtype"] not in _READ_DTYPES:
        raise UsageError(Problem(f"tensor {name!r} has element type {entry['dtype']}", hint="convert it to float32"))
    array: Array = np.frombuffer(entry["data"], _READ_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] != "BF16":
        return array
    wide = np.empty(array.shape, np.float32)
    widen(array, wide)
    return wide
