"""What a report is asked for, gathered in order: the step's facts, numbers, levers, the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pef.exchange import Replicas
from runtime.session import Session
from runtime.timing import Report
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
    found = facts(session.pef, _timed(session), request.folder())
    if request.against is not None:
        from workbench.report.against import against

        other = Session(request.against)
        found["against"] = against(found, other.pef, _timed(other))
    if request.profile:
        from workbench.report.numbers import numbers

        found["numbers"] = numbers(session, request.pef)
    session.close()
    if request.model is not None:
        from workbench.report.levers import levers

        found.update(levers(session.pef, request.model))
    return found


def _timed(session: Session) -> Report:
    """A whole step; of a data parallel PEF, on the fewest replicas that it was compiled for."""
    return session.run_timing(replicas=Replicas(max(1, session.pef.header.replicas)))
