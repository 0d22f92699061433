"""Makes sure that the project's packages, whose names are common words, are its own and not another folder's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGES = ("compiler", "ir", "backends", "runtime", "pef", "modelzoo")


def shadowing_folders() -> dict[str, Path]:
    """For each package that Python would take from elsewhere, the folder it would come from."""
    home = Path(__file__).resolve().parent
    found = {}
    for name in PACKAGES:
        spec = sys.modules[name].__spec__ if name in sys.modules else importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        folder = Path(places[0]).resolve() if places else home / name
        if folder != home / name:
            found[name] = folder
    return found


def require_own_packages() -> None:
    """Stop with one sentence if a folder shadows one of the project's packages."""
    for name, folder in shadowing_folders().items():
        message = f"snc's package {name!r} is shadowed by {folder}: rename that folder or run from another one"
        raise SystemExit(f"error[SHADOWED]: {message}")
