"""The course: solutions pass their own checks, exercises say what is left to do, and the two differ in nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

COURSE = DOCS / "course"
NAMES = sorted(path.stem for path in (COURSE / "exercises").glob("*.py"))
QUICK = ("gemm_by_hand", "rings", "rewriting")
"""Exercises that are checked in `make test`; all are in the full suite."""


def run(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def parts(path: Path) -> dict[str, ast.stmt]:
    """Top-level statements by name, or by their text."""
    tree = ast.parse(path.read_text())
    return {getattr(statement, "name", ast.unparse(statement)): statement for statement in tree.body}


def is_todo(statement: ast.stmt) -> bool:
    return "Todo(" in ast.unparse(statement)


def test_there_are_six_with_a_page_each() -> None:
    assert len(NAMES) == 6
    assert sorted(path.stem for path in (COURSE / "solutions").glob("*.py")) == NAMES
    pages = "".join(path.read_text() for path in COURSE.glob("*.md"))
    assert all(f"exercises/{name}.py" in pages and f"solutions/{name}.py" in pages for name in NAMES)


@pytest.mark.parametrize("name", QUICK)
def test_solution_passes(name: str) -> None:
    done = run(COURSE / "solutions" / f"{name}.py")
    assert done.returncode == 0 and done.stdout.endswith("Passed.\n"), done.stdout


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUICK])
def test_longer_solution_passes(name: str) -> None:
    test_solution_passes(name)


@pytest.mark.parametrize("name", QUICK[:1])
def test_exercise_says_what_is_left(name: str) -> None:
    done = run(COURSE / "exercises" / f"{name}.py")
    assert done.returncode == 1
    assert "Not yet: TODO 1 is not done yet" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_exercise_is_the_solution_without_what_is_to_do(name: str) -> None:
    exercise, solution = (parts(COURSE / folder / f"{name}.py") for folder in ("exercises", "solutions"))
    todo = {part for part, statement in exercise.items() if is_todo(statement)}
    assert todo and not any(is_todo(solution[part]) for part in todo)
    same = [part for part in exercise if part not in todo and not part.startswith("from fabric")]
    assert [part for part in solution if part not in todo and not part.startswith("from fabric")] == same
    assert all(ast.unparse(exercise[part]) == ast.unparse(solution[part]) for part in same)
    for part in todo:
        signatures = {ast.unparse(parts[part].args) for parts in (exercise, solution)}  # type: ignore[attr-defined]
        assert len(signatures) == 1
