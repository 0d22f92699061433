"""How a program that ends in one of the toolchain's errors says so: the program's own line and the error."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from ir.errors import SncError

_HOUSE = str(Path(__file__).resolve().parent.parent)
_OWN = tuple(f"{_HOUSE}/{package}/" for package in ("sambaflow", "compiler", "runtime", "backends", "pef", "ir"))


def absent(module: str, name: str, what: str, hint: str) -> Any:
    """What a module of the vendor answers whose interface is not public: ImportError for what programs import from it,
    AttributeError for what Python itself looks for."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"{module}.{name} is not here: {what} have no public interface; {hint}")


def install() -> None:
    """Print uncaught errors of the toolchain without the toolchain's own frames; `--debug` shows them all."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, SncError) or "--debug" in sys.argv:
            previous(kind, error, trace)
            return
        frames = [f for f in traceback.extract_tb(trace) if not f.filename.startswith((*_OWN, "<"))]
        for frame in frames[-1:]:
            print(f"{frame.filename}:{frame.lineno}: {frame.line}", file=sys.stderr)
        print(error, file=sys.stderr)

    sys.excepthook = hook
