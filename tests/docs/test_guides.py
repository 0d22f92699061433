"""The guides' diffs apply to the tree as it is, and with each of them the suite of its part passes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

GUIDES = {
    "operator/logaddexp.patch": ("tests/ir", "tests/test_architecture.py"),
    "pass/negation.patch": ("tests/passes", "tests/test_architecture.py"),
    "machine/sn30die.patch": ("tests/backends/test_machine.py", "tests/test_architecture.py"),
}
"""Each guide's diff, and the tests of the part it changes."""

LEFT_OUT = shutil.ignore_patterns(".*", "out", "build", "docs", "__pycache__", "*.egg-info")
"""What a copy of the tree does without: history, results, and the documentation itself."""
LARGEST = 4
"""Files that a diff may touch, its tests and registration among them."""


def copy(folder: Path) -> Path:
    """The tree in a folder of its own."""
    for path in ROOT.iterdir():
        if path.name in LEFT_OUT(str(ROOT), [path.name]):
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=LEFT_OUT)
        else:
            shutil.copy(path, folder)
    return folder


def test_every_diff_has_its_suite() -> None:
    there = {path.relative_to(DOCS / "guides").as_posix() for path in (DOCS / "guides").rglob("*.patch")}
    assert there == set(GUIDES)


@pytest.mark.parametrize("name", GUIDES)
def test_diff_applies_and_is_short(name: str) -> None:
    patch = DOCS / "guides" / name
    subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, check=True)
    assert patch.read_text().count("\n+++ ") <= LARGEST


@pytest.mark.full
@pytest.mark.parametrize("name", GUIDES)
def test_suite_passes_with_the_diff(name: str, tmp_path: Path) -> None:
    folder = copy(tmp_path)
    subprocess.run(["git", "apply", str(DOCS / "guides" / name)], cwd=folder, check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not full", "-p", "no:cacheprovider", *GUIDES[name]]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def test_an_undone_diff_would_be_noticed(tmp_path: Path) -> None:
    """Applying to a copy works on the copy: a diff that does not fit is refused."""
    broken = tmp_path / "broken.patch"
    broken.write_text((DOCS / "guides" / "pass" / "negation.patch").read_text().replace("Algebra, Cse, Dce", "Algebra"))
    done = subprocess.run(["git", "apply", "--check", str(broken)], cwd=ROOT, stderr=subprocess.PIPE)
    assert done.returncode != 0
