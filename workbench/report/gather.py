"""What a report is asked for, gathered in order: the step's facts, numbers, levers, the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pef.exchange import Replicas
from pef.wording import counted
from runtime.session import Session
from runtime.timing import Report
from workbench.report.facts import facts

Facts = dict[str, Any]
Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the report that is behind."""


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


def gather(request: Request, progress: Progress = lambda what, done: None) -> Facts:
    """Everything that was asked for. Raises SncError where a file is not what it should be."""
    progress("simulating", 0.0)
    session = Session(request.pef)
    found = facts(session.pef, _timed(session), request.folder())
    if request.against is not None:
        from workbench.report.against import against

        progress("simulating the other PEF", 0.2)
        other = Session(request.against)
        found["against"] = against(found, other.pef, _timed(other))
    if request.profile:
        from workbench.report.numbers import numbers

        progress("running the forward sections", 0.3)
        found["numbers"] = numbers(session, request.pef)
    session.close()
    if request.model is not None:
        from workbench.report.levers import levers

        found.update(levers(session.pef, request.model, lambda what, done: progress(what, 0.4 + 0.6 * done)))
    return found


def _timed(session: Session) -> Report:
    """A whole step; of a data parallel PEF, on the fewest replicas that it was compiled for."""
    return session.run_timing(replicas=Replicas(max(1, session.pef.header.replicas)))


def next_action(found: Facts) -> str:
    """The next action in one line; empty where no model was given."""
    levers = found.get("levers")
    if levers is None:
        return ""
    if levers["action"] is None:
        return f"{counted(len(levers['tried']), 'lever')} tried in the compiler's estimate; none is worth taking"
    action = levers["tried"][levers["action"]]
    return f"next: {action['option']} is estimated to be {action['speedup']:.2f} times as fast per sample"
