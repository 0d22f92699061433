"""Makes sure that the project's packages, whose names are common words, are its own and not another folder's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

PACKAGES = ("compiler", "ir", "backends", "runtime", "pef", "workbench", "snc", "modelzoo", "modelbox")

HOME = Path(__file__).resolve().parent


def look_beyond_plain_folders() -> None:
    """Let Python find the project's packages behind plain folders of the same names, such as an output folder `pef/`.

    Python takes a folder without `__init__.py` for a package of its own where nothing better is on its path. So the
    project's folder goes to the end of the path, and a plain folder that was imported is forgotten.
    """
    plain = [name for name in PACKAGES if (spec := _spec(name)) is not None and spec.origin is None]
    if not plain:
        return
    sys.path.append(str(HOME))
    importlib.invalidate_caches()
    for name in plain:
        sys.modules.pop(name, None)


def shadowing_folders() -> dict[str, Path]:
    """For each package that Python would take from elsewhere, the folder it would come from."""
    found = {}
    for name in PACKAGES:
        spec = _spec(name)
        places = list(spec.submodule_search_locations or [spec.origin or ""]) if spec else []
        folder = Path(places[0]).resolve() if places else HOME / name
        if folder != HOME / name:
            found[name] = folder
    return found


def require_own_packages() -> None:
    """Stop with one sentence if another project's package shadows one of this project's."""
    look_beyond_plain_folders()
    for name, folder in shadowing_folders().items():
        message = f"snc's package {name!r} is shadowed by {folder}: rename that folder or run from another one"
        raise SystemExit(f"error[SHADOWED]: {message}")


def _spec(name: str) -> ModuleSpec | None:
    if name in sys.modules:
        return sys.modules[name].__spec__
    return importlib.util.find_spec(name)
