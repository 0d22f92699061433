"""What of the toolchain and of the box goes into an image, and what it is called there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ir.errors import Problem, UsageError
from modelbox.box_file import FILE, Home
from pef.files import write_bytes
from snc_house import PACKAGES

TOOLCHAIN = Path(__file__).resolve().parent.parent.parent
FILES = ("snc_house.py", "setup.cfg", "pyproject.toml", "README.md")
LEFT_OUT = ("__pycache__", "*.pyc", "*.egg-info")
STATE = "state"
USER = 10001
"""Who serves in a container: nobody of the host's."""


def require_place(image: Path, home: Home, marker: str) -> None:
    """Raises UsageError where something else than an image of the same kind, which has `marker`, is in its way."""
    if image.exists() and not (image / marker).is_file() and any(image.iterdir()):
        raise UsageError(Problem(f"{image} holds something else", hint="give a folder that does not exist yet"))
    if image.resolve().is_relative_to(home.folder):
        raise UsageError(Problem(f"{image} lies within the box", hint="give a folder outside of it"))


def copy_toolchain(target: Path) -> None:
    """The toolchain, at this version."""
    target.mkdir(parents=True)
    for package in (*PACKAGES, "sambaflow"):
        shutil.copytree(TOOLCHAIN / package, target / package, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in FILES:
        if (TOOLCHAIN / name).is_file():
            shutil.copyfile(TOOLCHAIN / name, target / name)


def copy_box(home: Home, target: Path) -> None:
    """The box without what its service wrote."""
    shutil.copytree(home.folder, target, ignore=shutil.ignore_patterns(STATE, *LEFT_OUT, ".snc-*"))
    (target / STATE).mkdir()
    box = home.box.model_dump(mode="json", exclude_defaults=True) | {"box": 1}
    write_bytes(target / FILE, json.dumps(box, indent=1).encode())  # JSON is YAML
