"""Comparing outputs with a stored reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ir.op import Array
from ir.types import DType
from pef import pef_pb2 as pb


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output against its reference; `relative` is the largest difference over the largest expected magnitude."""

    name: str
    absolute: float
    relative: float
    passed: bool
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|a - b| <= atol + rtol |b|."""

    rtol: float
    atol: float


def usual_tolerance(pef: pb.Pef) -> Tolerance:
    """How far outputs may be from a reference that another implementation computed in the same precision.

    bf16 has 8 significant bits, so one rounding is off by up to 2^-9; roundings that fall differently add up, and are
    given three bits.
    """
    phases = (phase for configuration in pef.configurations for phase in configuration.phases)
    values = (value for phase in phases for stage in phase.stages for value in stage.values)
    rounds = any(value.type.dtype == DType.BF16.value for value in values)
    return Tolerance(2**-6, 2**-6) if rounds else Tolerance(1e-3, 1e-4)


def compare(outputs: Mapping[str, Array], expected: Mapping[str, Array], rtol: float, atol: float) -> list[Comparison]:
    """Every expected array against the output of its name, elementwise |a - b| <= atol + rtol |b|."""
    return [_compare(name, outputs.get(name), reference, rtol, atol) for name, reference in expected.items()]


def _compare(name: str, output: Array | None, reference: Array, rtol: float, atol: float) -> Comparison:
    if output is None:
        return Comparison(name, np.inf, np.inf, False, "the PEF has no such output")
    if output.shape != reference.shape:
        shapes = f"shape {list(output.shape)}, expected {list(reference.shape)}"
        return Comparison(name, np.inf, np.inf, False, shapes)
    if output.size == 0:
        return Comparison(name, 0.0, 0.0, True)
    got, wanted = output.astype(np.float64), reference.astype(np.float64)
    both_nan = np.isnan(got) & np.isnan(wanted)
    with np.errstate(invalid="ignore"):
        difference = np.where((got == wanted) | both_nan, 0.0, np.abs(got - wanted))
    absolute = float(np.max(difference))
    scale = float(np.nanmax(np.abs(wanted))) if not np.isnan(wanted).all() else 0.0
    relative = absolute / scale if scale else absolute
    passed = bool(np.allclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True))
    return Comparison(name, absolute, relative, passed)
