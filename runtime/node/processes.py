"""Processes as the operating system knows them. A number alone can be another process's by now; with the moment it
started it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Process:
    """started: seconds since 1970."""

    pid: int
    started: float
    user: str
    command: str


def find_process(pid: int) -> Process | None:
    """The process of this number, None where there is none."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            command = " ".join(process.cmdline()) or process.name()
            return Process(pid, process.create_time(), _user(process), command)
    except psutil.Error:
        return None


def is_alive(pid: int, started: float) -> bool:
    """Whether the process that started then is still there."""
    try:
        process = psutil.Process(pid)
        return bool(process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _user(process: psutil.Process) -> str:
    """The name of its owner, or his number where nobody has a name."""
    try:
        return str(process.username())
    except KeyError:
        return str(process.uids().real)
