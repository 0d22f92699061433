"""What a bisection finds, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was compared.

    isolated: its relative error on right inputs; accumulated: on whatever those before it made; inputs and results
    are compared with PyTorch (operators), with the program before (passes), or with the reference interpreter
    (sections, stages, tiles). `where` is the user's line. None: could not be had.
    """

    level: str
    name: str
    isolated: float | None
    accumulated: float | None
    tolerance: float
    where: str = ""
    accumulated_tolerance: float = 0.0

    @property
    def is_wrong(self) -> bool:
        """Whether it makes an error of its own."""
        return self.isolated is not None and not self.isolated <= self.tolerance

    @property
    def is_off(self) -> bool:
        """Whether what it makes is off, by its own error or by that of others before it."""
        allowed = max(self.tolerance, self.accumulated_tolerance)
        return self.is_wrong or (self.accumulated is not None and not self.accumulated <= allowed)

    def as_dict(self) -> dict[str, object]:
        """For machines."""
        return {
            "level": self.level,
            "name": self.name,
            "isolated": self.isolated,
            "accumulated": self.accumulated,
            "tolerance": self.tolerance,
            "where": self.where,
            "wrong": self.is_wrong,
        }


@dataclass(frozen=True, slots=True)
class Bisection:
    """Everything that was compared, in the order in which numbers come about; remarks say what could not be."""

    findings: Sequence[Finding]
    remarks: Sequence[str] = ()

    @property
    def culprits(self) -> list[Finding]:
        """From the outside to the inside, what makes the first error: a section, the stage in it, and its first wrong
        tile; or an operator; or a pass. Empty where all is right."""
        first = next((finding for finding in self.findings if finding.is_wrong), None)
        if first is None:
            return []
        inner = [finding for finding in self.findings if finding.is_wrong and finding.level in INSIDE[first.level]]
        return [first, *inner]

    def sentence(self) -> str:
        """The result in words."""
        if not self.culprits:
            off = next((finding for finding in self.findings if finding.is_off), None)
            if off is None and not any(finding.level == "operator" for finding in self.findings):
                return "no pass and no section changes the numbers"
            if off is None:
                return "the numbers agree with PyTorch's at every step"
            return f"errors add up to {off.accumulated:.1e} at {off.level} {off.name}, and no step makes them by itself"
        return "; ".join(
            f"{finding.level} {finding.name}" + (f" ({finding.where})" if finding.where else "") + _by(finding)
            for finding in self.culprits
        )


def _by(finding: Finding) -> str:
    return f" is off by {finding.isolated:.1e}, and rounding explains {finding.tolerance:.0e}"


INSIDE = {
    "operator": (),
    "capture": (),
    "pass": (),
    "section": ("load", "stage", "tile"),
    "fast executor": (),
}
"""The levels in which what is wrong at another is looked for."""
