"""Comparing outputs with a stored reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ir.op import Array
from ir.types import DType
from pef import pef_pb2 as pb
from pef.reference import judges, outputs_of, was_judged


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


def compare(
    outputs: Mapping[str, Array], expected: Mapping[str, Array], rtol: float, atol: float, excuse: bool = True
) -> list[Comparison]:
    """Every expected array against the output of its name, elementwise |a - b| <= atol + rtol |b|.

    Where they differ, and `expected` tells what outputs are in float64, a remark says whether rounding is to blame;
    with `excuse`, the output passes then.
    """
    exact = judges(expected)
    found = []
    for name, array in outputs_of(expected).items():
        comparison = _compare(name, outputs.get(name), array, rtol, atol)
        if not comparison.passed and not comparison.remark and was_judged(expected):
            judged = _judged(comparison, outputs[name], array, exact.get(name))
            comparison = judged if excuse else replace(judged, passed=False)
        found.append(comparison)
    return found


MARGIN = 4.0
"""How much further from float64 than PyTorch's float32 an output may be. Where one rounding is amplified, two right
computations are off by amounts of one order."""


def _judged(comparison: Comparison, output: Array, expected: Array, exact: Array | None) -> Comparison:
    """A failed comparison with a remark on whose fault it is; passed where the output is about as close to float64 as
    the expected array, which was computed in float32. `exact` of None: float32 is close to float64."""
    if exact is None:
        amount = f"max absolute error {comparison.absolute:.3g}, and PyTorch agrees with float64"
        return replace(comparison, remark=f"a fault, not rounding: {amount}")
    verdict = Verdict(largest_difference(output, exact), largest_difference(expected, exact))
    return replace(comparison, passed=verdict.is_chaos, remark=str(verdict))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far two computations in float32 are from float64, and what follows for the difference between them."""

    device: float
    torch: float

    @property
    def is_chaos(self) -> bool:
        """Whether the device is about as close to float64 as PyTorch."""
        return self.device <= MARGIN * self.torch

    def __str__(self) -> str:
        amounts = f"the device is off float64 by {self.device:.3g}, PyTorch by {self.torch:.3g}"
        if self.is_chaos:
            return f"chaos, not a fault: {amounts}, so rounding decides and neither is wrong"
        return f"a fault, not rounding: {amounts}"


def largest_difference(a: Array, b: Array) -> float:
    """The largest absolute difference; infinity where only one of two elements is a number."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    if not first.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        return float(np.nan_to_num(np.where(same, 0.0, np.abs(first - second)), nan=np.inf).max())


def _compare(name: str, output: Array | None, reference: Array, rtol: float, atol: float) -> Comparison:
    if output is None:
        return Comparison(name, np.inf, np.inf, False, "the PEF has no such output")
    if output.shape != reference.shape:
        shapes = f"shape {list(output.shape)}, expected {list(reference.shape)}"
        return Comparison(name, np.inf, np.inf, False, shapes)
    if output.size == 0:
        return Comparison(name, 0.0, 0.0, True)
    got, wanted = output.astype(np.float64), reference.astype(np.float64)
    absolute = largest_difference(got, wanted)
    scale = float(np.nanmax(np.abs(wanted))) if not np.isnan(wanted).all() else 0.0
    relative = absolute / scale if scale else absolute
    passed = bool(np.allclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True))
    return Comparison(name, absolute, relative, passed)
