"""What outlives the daemon: conditions, errors, faults and sessions, in SQLite. Every change is on the disk when the
method returns."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ir.errors import Problem, UsageError
from runtime.node.diagnosis import Diagnosis, FaultType

VERSION = 1
KEPT = 10_000
"""Entries of the error log, and closed sessions, that are kept: the newest."""
LOGS = ("inventory", "error", "fault", "policy")

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE versions (log TEXT PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE conditions (path TEXT PRIMARY KEY, since REAL NOT NULL);
CREATE TABLE errors (id INTEGER PRIMARY KEY, time REAL NOT NULL, path TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE faults (uuid TEXT PRIMARY KEY, time REAL NOT NULL, type TEXT NOT NULL, path TEXT NOT NULL,
                     cause TEXT NOT NULL, suspects TEXT NOT NULL, advice TEXT NOT NULL, cleared REAL);
CREATE TABLE sessions (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, started REAL NOT NULL, user TEXT NOT NULL,
                       command TEXT NOT NULL, pef TEXT NOT NULL, tiles TEXT NOT NULL, since REAL NOT NULL,
                       closed REAL, ended TEXT NOT NULL DEFAULT '', lever TEXT NOT NULL DEFAULT '');
CREATE INDEX open_sessions ON sessions (closed);
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A diagnosed fault. cause: the path of what broke; cleared: when, in seconds since 1970, or None."""

    uuid: str
    time: float
    type: FaultType
    path: str
    cause: str
    suspects: tuple[str, ...]
    advice: str
    cleared: float | None


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session that is open: started is when its process did; ended says why it cannot go on, '' while it can."""

    id: int
    pid: int
    started: float
    user: str
    command: str
    pef: str
    tiles: frozenset[int]
    ended: str
    lever: str


class Store:
    """The database of one daemon."""

    def __init__(self, path: Path, node_file: str) -> None:
        """Open or make the database. Raises UsageError where it is of another node or of a newer daemon."""
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction() as run:
            if not run("PRAGMA user_version").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    run(statement)
                run(f"PRAGMA user_version={VERSION}")
                run("INSERT INTO about VALUES ('node', ?)", node_file)
                for log in LOGS:
                    run("INSERT INTO versions VALUES (?, 1)", log)
        self._require_own(path, node_file)

    def _require_own(self, path: Path, node_file: str) -> None:
        with self._transaction() as run:
            version = run("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                what = f"{path} was written by another version of the daemon ({version}; this one writes {VERSION})"
                raise UsageError(Problem(what, hint="give another --folder"))
            (kept,) = run("SELECT value FROM about WHERE key = 'node'").fetchone()
        if kept != node_file:
            what = f"{path} is the state of {kept}, not of {node_file}"
            raise UsageError(Problem(what, hint=f"give --node {kept}, or another --folder"))

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """The block's statements happen together or not at all; yields what runs one."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda statement, *values: self._connection.execute(statement, values)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    # -- hardware -----------------------------------------------------------------------------------------------

    def versions(self) -> dict[str, int]:
        """How often each log has changed."""
        return dict(self._rows("SELECT log, version FROM versions"))

    def conditions(self) -> list[str]:
        """The paths of what is broken, in the order it broke."""
        return [path for (path,) in self._rows("SELECT path FROM conditions ORDER BY since, path")]

    def break_(self, path: str, now: float) -> None:
        """Note that a component is broken until it is repaired."""
        with self._transaction() as run:
            run("INSERT OR IGNORE INTO conditions VALUES (?, ?)", path, now)
            run(_CHANGED, "inventory")

    def repair(self, path: str) -> bool:
        """Note that a component works again; whether it was broken."""
        with self._transaction() as run:
            count: int = run("DELETE FROM conditions WHERE path = ?", path).rowcount
            if count:
                run(_CHANGED, "inventory")
        return count > 0

    def add_error(self, path: str, text: str, now: float) -> None:
        """An entry of the error log, which drops its oldest beyond `KEPT`; numbers go on."""
        with self._transaction() as run:
            number = run("INSERT INTO errors (time, path, text) VALUES (?, ?, ?)", now, path, text).lastrowid
            run("DELETE FROM errors WHERE id <= ?", number - KEPT)
            run(_CHANGED, "error")

    def error_count(self) -> int:
        """Entries of the error log."""
        return int(self._rows("SELECT COUNT(*) FROM errors")[0][0])

    def errors(self) -> list[tuple[int, float, str, str]]:
        """The error log: number, time, path, text."""
        return self._rows("SELECT id, time, path, text FROM errors ORDER BY id")

    def add_fault(self, diagnosis: Diagnosis, cause: str, now: float) -> str:
        """Keep a fault and return its UUID; one that stands already is not diagnosed twice."""
        with self._transaction() as run:
            same = "cleared IS NULL AND type = ? AND path = ? AND cause = ?"
            standing = run(
                f"SELECT uuid FROM faults WHERE {same}", diagnosis.type.value, diagnosis.path, cause
            ).fetchone()
            if standing:
                return str(standing[0])
            identity = str(uuid.uuid4())
            what = (diagnosis.type.value, diagnosis.path, cause, json.dumps(diagnosis.suspects), diagnosis.advice)
            run("INSERT INTO faults VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", identity, now, *what)
            run(_CHANGED, "fault")
        return identity

    def faults(self, all_of_them: bool = False) -> list[Fault]:
        """The faults that stand, or with `all_of_them` the cleared ones too, in order of time."""
        which = "" if all_of_them else "WHERE cleared IS NULL"
        rows = self._rows(f"SELECT * FROM faults {which} ORDER BY time, rowid")
        return [Fault(u, t, FaultType(k), p, c, tuple(json.loads(s)), a, z) for u, t, k, p, c, s, a, z in rows]

    def clear_fault(self, identity: str, now: float) -> Fault | None:
        """Clear a fault that stands; returns it, or None where there is no such fault."""
        found = next((fault for fault in self.faults() if fault.uuid == identity), None)
        if found is None:
            return None
        with self._transaction() as run:
            run("UPDATE faults SET cleared = ? WHERE uuid = ?", now, identity)
            run(_CHANGED, "fault")
        return found

    # -- sessions -----------------------------------------------------------------------------------------------

    def sessions(self) -> list[SessionRecord]:
        """The sessions that are open, in the order they began."""
        statement = "SELECT id, pid, started, user, command, pef, tiles, ended, lever FROM sessions"
        rows = self._rows(f"{statement} WHERE closed IS NULL ORDER BY id")
        return [
            SessionRecord(number, pid, started, user, command, pef, frozenset(json.loads(tiles)), ended, lever)
            for number, pid, started, user, command, pef, tiles, ended, lever in rows
        ]

    def open_session(
        self, pid: int, started: float, user: str, command: str, pef: str, tiles: Sequence[int], now: float
    ) -> int:
        """Keep a new session and return its number."""
        columns = "pid, started, user, command, pef, tiles, since"
        values = (pid, started, user, command, pef, json.dumps(list(tiles)), now)
        with self._transaction() as run:
            number = int(run(f"INSERT INTO sessions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", *values).lastrowid)
            run("DELETE FROM sessions WHERE id <= ? AND closed IS NOT NULL", number - KEPT)
            return number

    def widen_session(self, identity: int, pef: str, tiles: Sequence[int]) -> None:
        """A session runs another PEF, and holds these tiles from now on."""
        with self._transaction() as run:
            run("UPDATE sessions SET pef = ?, tiles = ? WHERE id = ?", pef, json.dumps(list(tiles)), identity)

    def end_session(self, identity: int, reason: str, lever: str) -> None:
        """A session cannot go on; it keeps its tiles until it closes."""
        with self._transaction() as run:
            run("UPDATE sessions SET ended = ?, lever = ? WHERE id = ?", reason, lever, identity)

    def close_session(self, identity: int, now: float) -> None:
        """A session's tiles are free."""
        with self._transaction() as run:
            run("UPDATE sessions SET closed = ? WHERE id = ? AND closed IS NULL", now, identity)


_CHANGED = "UPDATE versions SET version = version + 1 WHERE log = ?"
