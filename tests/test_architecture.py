"""The house rules that can be checked: who imports whom, what stays free of torch, whose packages these are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "ir": {"ir"},
    "pef": {"ir", "pef"},
    "runtime": {"ir", "pef", "runtime", "snc_house"},
    "backends": {"ir", "pef", "backends"},
    "compiler": {"ir", "pef", "backends", "compiler", "snc_house"},
    "sambaflow": {"ir", "pef", "backends", "compiler", "runtime", "sambaflow", "snc_house"},
    "workbench": {"ir", "pef", "backends", "compiler", "runtime", "workbench", "snc_house"},
    "snc": {"ir", "pef", "backends", "compiler", "runtime", "workbench", "snc", "snc_house"},
    "modelzoo": {"ir", "pef", "backends", "compiler", "runtime", "sambaflow", "modelzoo", "snc_house"},
    "modelbox": {"ir", "pef", "backends", "compiler", "runtime", "sambaflow", "modelzoo", "modelbox", "snc_house"},
}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_stands_below_them(package: str) -> None:
    assert sources(package) or package == "sambaflow"
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in imported_packages(path)
        if name in {*MAY_IMPORT, "snc_house"} and name not in MAY_IMPORT[package]
    ]
    assert wrong == []


def test_only_the_frontend_of_the_toolchain_imports_torch() -> None:
    allowed = ROOT / "compiler" / "frontend"
    wrong = [
        str(path.relative_to(ROOT))
        for package in ("ir", "pef", "runtime", "backends", "compiler")
        for path in sources(package)
        if "torch" in imported_packages(path) and allowed not in path.parents
    ]
    assert wrong == ["runtime/files/torch_file.py"], "besides the frontend, only reading a .pt file needs torch"


def test_snrun_runs_without_torch_and_without_the_compiler() -> None:
    code = (
        "import sys, runtime.session, runtime.snrun.cli, runtime.timing, runtime.profile.tables\n"
        "import runtime.snrun.infer, runtime.snrun.train\n"
        "print([m for m in ('torch', 'compiler', 'backends') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"


def test_a_folder_that_shadows_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "pef").mkdir()
    (tmp_path / "pef" / "__init__.py").touch()
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import runtime"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode != 0
    assert str(tmp_path / "pef") in result.stderr
    assert "Traceback" not in result.stderr


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imported_modules(path: Path) -> set[str]:
    """The project's modules that a file names in imports, wherever in it, those for types alone included. That a
    package's `__init__` runs before its modules is not counted."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if is_module(name)}
            found |= modules if modules == inner else {*modules, node.module}
    return found


def test_the_import_graph_of_the_whole_project_has_no_circles() -> None:
    everything = [path for package in (*MAY_IMPORT, "benchmarks", "tests") for path in sources(package)]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in everything
    }
    graph = nx.DiGraph()
    for name, path in names.items():
        graph.add_edges_from((name, other) for other in imported_modules(path) if other in names)
    assert graph.number_of_edges() > len(names)
    circles = [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1]
    assert circles == []
    assert [name for name in graph if graph.has_edge(name, name)] == []


def test_every_package_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in sources(package)
        if path.name != "__init__.py" and "_pb2" not in path.name and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_plain_commands_load_nothing_of_the_zoo_or_the_box() -> None:
    code = "import sys, compiler.cli, runtime.snrun.cli, runtime.snrun.command\nfrom click.testing import CliRunner\n"
    code += "assert CliRunner().invoke(compiler.cli.main, ['check', '--help']).exit_code == 0\n"
    code += "above = ('modelzoo', 'modelbox', 'workbench', 'fastapi', 'grpc')\n"
    code += "print([m for m in sys.modules if m.split('.')[0] in above])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"
