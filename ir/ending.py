"""How a command ends: exit status 0 only if the work was done, and one readable message if it was not.

What the toolchain foresees is an SncError. Anything else is a fault of the toolchain (or of the computer) and becomes
one `error[INTERNAL]` line, with the traceback where it is asked for.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ir.errors import InternalError, MissingExtraError, OutOfMemoryError, Problem, SncError, UsageError

HOME = Path(__file__).resolve().parent.parent
LONGEST = 300
"""Characters shown of what an unforeseen exception says."""
EXTRAS = {"modelzoo": "zoo", "modelbox": "box", "runtime/node": "node"}
"""The extra of the distribution that brings what the modules of a folder import and others do without."""


class _Messages(logging.Handler):
    """Writes to what standard error is at the moment: while a progress bar is shown, that keeps lines apart from it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def show_messages(verbose: bool = False) -> None:
    """Show what the toolchain logs on standard error: notes and warnings, and all that is being done if `verbose`."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[_Messages()])


def exit_status(work: Callable[[], bool], verbose: bool = False) -> int:
    """Do `work` and return the exit status: 0 if it says that all went well, else 1; 2 for unusable arguments."""
    accept_every_character()
    try:
        with _exit_is_heard():
            return 0 if work() else 1
    except (Exception, SystemExit) as error:
        return _told(error, verbose)


@contextmanager
def readable_errors(verbose: bool = False) -> Iterator[None]:
    """End the process with a message and an exit status where the block raises anything."""
    accept_every_character()
    try:
        with _exit_is_heard():
            yield
    except (Exception, SystemExit) as error:
        raise SystemExit(_told(error, verbose)) from None


@contextmanager
def _exit_is_heard() -> Iterator[None]:
    """Let os._exit() in the code that a model runs raise SystemExit, so that status 0 means that the work was done.

    Processes that were forked, and other threads, still end by it. What ends the process below Python, such as a signal
    or exit() of a C library, cannot be heard.
    """
    leave, process, thread = os._exit, os.getpid(), threading.get_ident()

    def heard(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) != (process, thread):
            leave(status)
        raise SystemExit(status)

    os._exit = heard
    try:
        yield
    finally:
        os._exit = leave


def _told(error: Exception | SystemExit, verbose: bool) -> int:
    """Print what went wrong; returns the exit status."""
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):  # rich ends by SystemExit
        _silence_output()
        return 1
    match error:
        case SncError():
            told = error
        case MemoryError():
            told = _out_of_memory(error)
        case ModuleNotFoundError() if (extra := _extra_of(error)) is not None:
            told = _missing(error, extra)
        case SystemExit():
            what = f"the program's own code ended the process with status {error.code or 0} before the work was done"
            told = UsageError(Problem(what, hint="take sys.exit() and os._exit() out of what the model runs"))
        case _:
            told = _unforeseen(error)
    if verbose and told.__cause__ is not None:
        traceback.print_exception(told.__cause__)
    print(told, file=sys.stderr)
    return 2 if isinstance(told, UsageError) else 1


def accept_every_character() -> None:
    """A stream that cannot show a character (in another encoding than UTF-8) shows its number instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _out_of_memory(error: MemoryError) -> SncError:
    said = f": {_shortened(error)}" if str(error) else ""
    hint = "close other programs, take a smaller batch, or, for simulated time alone, snrun --timing-only"
    wrapped = OutOfMemoryError(Problem(f"this computer has too little memory{said}", hint=hint))
    wrapped.__cause__ = error
    return wrapped


def _extra_of(error: ModuleNotFoundError) -> str | None:
    """The extra that brings what one of the project's own modules imports in vain."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    if not frames or not _is_own(frames[-1]):
        return None
    place = Path(os.path.relpath(frames[-1].filename, HOME)).as_posix()
    return next((extra for folder, extra in EXTRAS.items() if place.startswith(f"{folder}/")), None)


def _missing(error: ModuleNotFoundError, extra: str) -> SncError:
    hint = f"pip install 'snc[{extra}]' installs everything that this needs"
    wrapped = MissingExtraError(Problem(f"the Python package {error.name} is not installed", hint=hint))
    wrapped.__cause__ = error
    return wrapped


def _unforeseen(error: Exception) -> SncError:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame)]
    where = ""
    if own:
        where = f" in {os.path.relpath(own[-1].filename, HOME)}:{own[-1].lineno}"
    hint = "this is a fault of the toolchain: run again with -v for the traceback, and report it"
    wrapped = InternalError(Problem(f"{type(error).__name__}{where}: {_shortened(error)}", hint=hint))
    wrapped.__cause__ = error
    return wrapped


def _is_own(frame: traceback.FrameSummary) -> bool:
    """Whether a call was in the project's code."""
    return not frame.filename.startswith("<") and os.path.abspath(frame.filename).startswith(f"{HOME}{os.sep}")


def _shortened(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _silence_output() -> None:
    """Nobody reads standard output any more: keep the interpreter from complaining about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
