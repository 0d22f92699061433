"""How far two arrays are apart, and how much may be rounding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ir.graph import Program
from ir.op import Array
from ir.types import DType

FLOAT32_TOLERANCE = 1e-4
"""Relative error up to which two float32 computations in different orders agree."""

BF16_TOLERANCE = 2**-6
"""The same where values are rounded to bf16, with 8 significant bits: some roundings fall differently, and add up."""

ABSOLUTE_SHARE = 1e-6
"""Tensors this small beside the largest of a comparison are rounding themselves."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one tensor is off: the largest absolute difference, and the relative one in the Euclidean norm."""

    name: str
    absolute: float
    relative: float


def difference(name: str, found: Array, expected: Array, floor: float = 0.0) -> Difference:
    """The difference of two arrays of one shape; infinite where only one of two elements is a number.

    floor: the norm that the difference is measured against where that of `expected` is smaller.
    """
    if found.shape != expected.shape:
        return Difference(name, np.inf, np.inf)
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.nan_to_num(np.where(same, 0.0, np.abs(a - b)), nan=np.inf)
    size = max(_norm(b), floor)
    distance = _norm(apart) if np.isfinite(apart).all() else np.inf
    return Difference(name, float(apart.max(initial=0.0)), distance / size if size else distance)


def _norm(array: Array) -> float:
    """The Euclidean norm of the finite elements."""
    return float(np.linalg.norm(array[np.isfinite(array)]))


def differences(found: Mapping[str, Array], expected: Mapping[str, Array]) -> list[Difference]:
    """The difference of every array that both have, the largest first.

    A tensor that is tiny beside the largest expected one is measured against a share of that: a gradient that is zero
    but for rounding has no relative error.
    """
    common = [name for name in expected if name in found]
    floor = ABSOLUTE_SHARE * max((_norm(np.asarray(expected[name], np.float64)) for name in common), default=0.0)
    measured = [difference(name, found[name], expected[name], floor) for name in common]
    return sorted(measured, key=lambda each: -each.relative)


def largest(found: Iterable[Difference]) -> float:
    """The largest relative difference; 0 of none."""
    return max((each.relative for each in found), default=0.0)


def rounds_to_bf16(program: Program) -> bool:
    """Whether any value of the program is bf16."""
    return any(value.type.dtype is DType.BF16 for graph in program.graphs for value in graph.values())


def tolerance(*programs: Program) -> float:
    """The relative error that programs may have beside one another, unless they amplify rounding."""
    return BF16_TOLERANCE if any(map(rounds_to_bf16, programs)) else FLOAT32_TOLERANCE
