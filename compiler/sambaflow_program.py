"""SambaFlow programs given to `snc compile`: recognised by their imports, compiled by their own `compile` verb."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ir.errors import Problem, UsageError


def is_sambaflow_program(model: str) -> bool:
    """Whether `model` is a Python file that imports sambaflow. Files that cannot be read are left to the compiler."""
    path = Path(model)
    try:
        if path.suffix != ".py" or not path.is_file():
            return False
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any("sambaflow" in _packages(node) for node in ast.walk(tree))


def run_compile_verb(model: str, arguments: Sequence[str], output_folder: Path) -> bool:
    """Run `python model compile arguments...` with this toolchain in reach; whether it compiled something.

    Raises UsageError where the program says that all went well, but has written no PEF.
    """
    home = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), home]))
    command = [sys.executable, model, "compile", *arguments]
    before = _pefs(output_folder)
    status = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
    if status == 0 and not {"-h", "--help"}.intersection(arguments) and _pefs(output_folder) == before:
        what = f"{model} ended with status 0, but wrote no PEF into {output_folder}"
        raise UsageError(Problem(what, hint="let its compile verb call samba.session.compile"))
    return status == 0


def _pefs(folder: Path) -> dict[Path, int]:
    """The PEFs below a folder, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.pef")} if folder.is_dir() else {}


def _packages(node: ast.AST) -> set[str]:
    """The top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {str(node.module).partition(".")[0]}
    return set()
