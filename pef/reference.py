"""What a reference file holds: PyTorch's outputs by name, and some of them in float64 too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT64 = "float64:"

WELL_CONDITIONED = (1e-4, 1e-5)
"""Relative and absolute difference of float32 from float64 up to which a reference holds float32 alone."""


EVERY = ""
"""The name of an empty entry: all outputs were compared with float64."""


def float64_name(name: str) -> str:
    """The entry of an output as it is in float64."""
    return f"{_FLOAT64}{name}"


def outputs_of(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs in the precision of the model, by name."""
    return {name: array for name, array in arrays.items() if not name.startswith(_FLOAT64)}


def judges(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs that are there in float64, by name."""
    return {name.removeprefix(_FLOAT64): array for name, array in arrays.items() if name.startswith(_FLOAT64)}


def was_judged(arrays: Mapping[str, Array]) -> bool:
    """Whether all outputs were compared with float64, so that those without a judge are close to it."""
    return float64_name(EVERY) in arrays
