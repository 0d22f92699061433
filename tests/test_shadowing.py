"""Folders of users that are called like the project's packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("compiler", "ir", "backends", "runtime", "pef", "sambaflow", "examples")

FINDER = f"""
import sys
from importlib.machinery import PathFinder

class Finder:
    '''Finds the project only after all folders of the path, as some editable installs do.'''
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{str(ROOT)!r}]) if path is None else None

sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]
sys.meta_path.append(Finder)
"""


def program(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A program in `folder`, run there."""
    file = folder / "app.py"
    file.write_text(code)
    command = [sys.executable, str(file)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    "imported", ["from sambaflow import samba", "import compiler.cli, runtime.snrun.cli", "import pef"]
)
def test_plain_folders_do_not_matter(tmp_path: Path, imported: str) -> None:
    for name in NAMES:
        (tmp_path / name / "model").mkdir(parents=True)
    on_path = f"import sys; sys.path.append({str(ROOT)!r})\n{imported}\nimport pef.file; print(pef.file.__file__)"
    result = program(tmp_path, on_path)
    assert result.stdout.strip() == str(ROOT / "pef" / "file.py"), result.stderr


def test_plain_folders_do_not_matter_where_the_path_is_searched_first(tmp_path: Path) -> None:
    for name in NAMES[:5]:
        (tmp_path / name).mkdir()
    for first in ("", "import pef, ir\n"):
        result = program(
            tmp_path, f"{FINDER}{first}from sambaflow import samba\nimport pef.file; print(pef.file.__file__)"
        )
        assert result.stdout.strip() == str(ROOT / "pef" / "file.py"), result.stderr


def test_a_package_of_somebody_else_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "pef").mkdir()
    (tmp_path / "pef" / "__init__.py").touch()
    result = program(tmp_path, f"{FINDER}from sambaflow import samba")
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"error[SHADOWED]: snc's package 'pef' is shadowed by {tmp_path / 'pef'}: "
        "rename that folder or run from another one"
    )


def test_an_editable_install_puts_the_folder_on_the_path(tmp_path: Path) -> None:
    """A path entry, that is, not a finder that Python asks after the folders of the user."""
    pytest.importorskip("setuptools")
    project = tmp_path / "project"
    project.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "snc_house.py"):
        shutil.copy(ROOT / name, project)
    for name in NAMES[:6]:
        (project / name).mkdir()
        (project / name / "__init__.py").touch()
    shutil.copy(ROOT / "ir" / "version.py", project / "ir")
    build = f"from setuptools import build_meta; print(build_meta.build_editable({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", build], capture_output=True, text=True, cwd=project, check=False)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        paths = [name for name in archive.namelist() if name.endswith(".pth")]
        assert [archive.read(name).decode().strip() for name in paths] == [str(project)], done.stderr
        assert not [name for name in archive.namelist() if name.endswith("finder.py")]
