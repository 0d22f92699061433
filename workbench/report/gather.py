"""What a report is asked for, gathered in order: the step's facts, numbers, levers, the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.session import Session
from workbench.report.facts import facts

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """The PEF; another to compare with; its model, `model.py` or `model.py:name`; whether to run the numbers; the
    folder that source files are named from."""

    pef: Path
    against: Path | None = None
    model: str | None = None
    profile: bool = False
    source: Path | None = None

    def folder(self) -> Path:
        """Where source files are looked for."""
        if self.source is not None:
            return self.source
        return Path(self.model.partition(":")[0]).parent if self.model is not None else Path()


def gather(request: Request) -> Facts:
    """Everything that was asked for. Raises SncError where a file is not what it should be."""
    session = Session(request.pef)
    found = facts(session.pef, session.run_timing(), request.folder())
    if request.against is not None:
        from workbench.report.against import against

        other = Session(request.against)
        found["against"] = against(found, other.pef, other.run_timing())
    if request.profile:
        from workbench.report.numbers import numbers

        found["numbers"] = numbers(session, request.pef)
    session.close()
    if request.model is not None:
        from workbench.report.levers import levers

        found.update(levers(session.pef, request.model))
    return found
