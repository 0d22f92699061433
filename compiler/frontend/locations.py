"""Where in the user's source a traced node comes from."""

from __future__ import annotations

import ast
import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType

import torch

from ir.location import Location

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TORCH = str(Path(torch.__file__).parent)
_FRONTEND = str(Path(__file__).parent)
_STDLIB = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_SDK = str(Path(__file__).parent.parent.parent / "sambaflow")

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages."""

REGION = "snc_region"
"""The key under which `torch.fx.traceback.annotate` tells the region of a traced node, as a `Region`."""

Region = tuple[str, str, object]
"""The name of a region, a note that reports show, and what tells it from others of that name."""

_MODEL_FOLDERS: set[str] = set()
"""Folders importable only because a model was loaded from them. Files are not named after them: what a location says
must not depend on the models that were loaded before."""


def make_importable(folder: Path) -> None:
    """Let a model file import what stands beside it."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        _MODEL_FOLDERS.add(str(folder))


@dataclass(frozen=True)
class Locator:
    """Makes locations of what is traced. `file` and `line` say where the model is written, for what has no line.

    `regions` names modules, by their paths, whose nodes are one region each.
    """

    file: Path
    line: int
    regions: Mapping[str, str] = field(default_factory=dict, compare=False)
    _numbered: dict[Region, str] = field(default_factory=dict, init=False, compare=False)
    _shown: dict[str, str] = field(default_factory=dict, init=False, compare=False)

    @property
    def start(self) -> Location:
        """Where the model is written."""
        return Location(self.shown(str(self.file)), self.line)

    def location(self, found: tuple[str, int] | None, module: str, marked: Region | None) -> Location:
        """The place of what runs at a line, of a file as shown, in the module of a path, within a marked region."""
        file, line = found or (self.shown(str(self.file)), self.line)
        return Location(file, line, module, self.region(module, marked))

    def region(self, module: str, marked: Region | None) -> str:
        """The name of the region, '' for none; a repeated name is numbered in the order of the graph."""
        within = [path for path in self.regions if module == path or module.startswith(f"{path}.") or not path]
        if marked is None and within:
            innermost = max(within, key=len)
            marked = (self.regions[innermost], "", innermost)
        if marked is None:
            return ""
        if marked not in self._numbered:
            name, note, _ = marked
            repeats = sum(other == name for other, *_ in self._numbered)
            numbered = f"{name}.{repeats}" if repeats else name
            self._numbered[marked] = f"{numbered} ({note})" if note else numbered
        return self._numbered[marked]

    def shown(self, file: str) -> str:
        """The file relative to the model file's folder, else to the folder it is imported from."""
        if file not in self._shown:
            importable = {folder for folder in sys.path if folder} - _MODEL_FOLDERS
            folders = [str(self.file.parent), *sorted(importable, key=len, reverse=True)]
            found = (os.path.relpath(file, folder) for folder in folders if file.startswith(folder + os.sep))
            self._shown[file] = next(found, file)
        return self._shown[file]


def innermost_frame(trace: str) -> tuple[str, int] | None:
    """File and line of the innermost frame outside PyTorch, this package and the SDK."""
    frames = [(file, int(line)) for file, line in _FRAME.findall(trace)]
    return next((frame for frame in reversed(frames) if is_users(frame[0])), None)


def current_frame() -> tuple[str, int] | None:
    """File and line of the innermost running frame outside PyTorch, this package and the SDK."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else None


@cache
def is_users(file: str) -> bool:
    """Whether a file is neither PyTorch's nor of this package or the SDK."""
    return not file.startswith((_TORCH, _FRONTEND, _SDK, "<"))


@cache
def is_pythons(file: str) -> bool:
    """Whether a file is of Python's own library."""
    return file.startswith(_STDLIB) and INSTALLED.isdisjoint(Path(file).parts)


def asking_line(*between: str) -> tuple[str, int] | None:
    """File and line that the model's code, or a library, called a function of Python's from, which is being asked now,
    maybe by way of the files `between`. None where PyTorch asks, or Python itself, or we do."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename in between:
        frame = frame.f_back
    file = frame.f_code.co_filename if frame else ""
    is_models = not is_pythons(file) if is_users(file) else file.startswith("<") and not file.startswith("<frozen")
    while is_models and frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if is_models and frame else None


def definition_line(file: Path, name: str) -> int:
    """The line where `name` is defined at the top level of `file`; 1 where it is not."""
    if not file.is_file():
        return 1
    for statement in ast.parse(file.read_bytes()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement]
        if any(getattr(target, "id", getattr(target, "name", None)) == name for target in targets):
            return statement.lineno
    return 1
