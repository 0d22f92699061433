"""SambaFlow programs given to `snc compile`: recognised by their imports, compiled by their own `compile` verb."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def is_sambaflow_program(model: str) -> bool:
    """Whether `model` is a Python file that imports sambaflow. Files that cannot be read are left to the compiler."""
    path = Path(model)
    if path.suffix != ".py" or not path.is_file():
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any("sambaflow" in _packages(node) for node in ast.walk(tree))


def run_compile_verb(model: str, arguments: Sequence[str]) -> int:
    """Run `python model compile arguments...` with this toolchain in reach; returns its exit status."""
    home = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), home]))
    command = [sys.executable, model, "compile", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def _packages(node: ast.AST) -> set[str]:
    """The top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {str(node.module).partition(".")[0]}
    return set()
