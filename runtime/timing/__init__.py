"""The timing simulator: cycles of a PEF's sections on the machine it was compiled for. The model: docs/timing.md."""

from runtime.timing.report import (
    Bound,
    Execution,
    PhaseReport,
    Report,
    SectionReport,
    StageReport,
    StageTime,
    StreamReport,
    Units,
)
from runtime.timing.simulate import simulate

__all__ = [
    "Bound",
    "Execution",
    "PhaseReport",
    "Report",
    "SectionReport",
    "StageReport",
    "StageTime",
    "StreamReport",
    "Units",
    "simulate",
]
