"""The program's one session, for the modules that it is built on."""

from __future__ import annotations

from sambaflow.samba._tensor.contracts import CurrentSession

_sessions: list[CurrentSession] = []


def session() -> CurrentSession:
    """`samba.session`."""
    return _sessions[-1]


def make_current(session: CurrentSession) -> None:
    """Let `session` be `samba.session`."""
    _sessions[:] = [session]
