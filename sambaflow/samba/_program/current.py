"""The program's one session, for the modules that it stands on itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sambaflow.samba.session import SambaSession

_sessions: list[SambaSession] = []


def session() -> SambaSession:
    """`samba.session`."""
    return _sessions[-1]


def make_current(session: SambaSession) -> SambaSession:
    """Let `session` be `samba.session`."""
    _sessions[:] = [session]
    return session
