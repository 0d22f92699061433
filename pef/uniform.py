"""Tensors that are one number everywhere, in the metadata of a safetensors file.

An optimizer's states are so before the first step. Written out they would be twice as large as the model; and a compile
of a model without content, which writes no weights, would write nothing but them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ir.op import Array

KEY = "snc-uniform"
"""In the file's metadata: a JSON object of name to dtype (as NumPy names it), shape and number."""


def is_uniform(array: Array) -> bool:
    """Whether an array is one number in memory, repeated."""
    return array.size > 1 and not any(array.strides)


def uniform_metadata(arrays: Mapping[str, Array]) -> dict[str, str]:
    """The metadata that stand for these arrays, each of which `is_uniform`."""
    told = {
        name: {"dtype": array.dtype.name, "shape": list(array.shape), "number": array.flat[0].item()}
        for name, array in sorted(arrays.items())
    }
    return {KEY: json.dumps(told)} if told else {}


def uniform_tensors(metadata: Mapping[str, str]) -> dict[str, Array]:
    """The arrays that metadata stand for, read-only. Raises ValueError or TypeError where they are damaged."""
    told: Any = json.loads(metadata.get(KEY, "{}"))
    if not isinstance(told, dict):
        raise ValueError(f"its {KEY!r} is no JSON object")
    return {name: _tensor(**entry) for name, entry in told.items()}


def _tensor(dtype: str, shape: list[int], number: float) -> Array:
    array = np.asarray(number, dtype)
    if array.ndim or array.dtype.kind not in "fiub":
        raise ValueError(f"{number!r} is not a number")
    return np.broadcast_to(array, shape)
