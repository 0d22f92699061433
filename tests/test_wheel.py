"""The wheel works in an environment of its own, away from the sources."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ir.version import VERSION

ROOT = Path(__file__).parents[1]
NOT_SOURCES = shutil.ignore_patterns(".*", "out", "build", "*.egg-info", "__pycache__", "tests")
LEFT_OUT = {"benchmarks", "docs", "examples", "out", "tests", "build"}

Command = Callable[..., str]


def packages() -> list[str]:
    """The top-level packages of the project."""
    return sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in LEFT_OUT)


def test_every_package_is_shipped_and_typed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    shipped = {line.rstrip("*") for line in setup["options.packages.find"]["include"].split()}
    assert set(packages()) <= shipped
    assert setup["options.package_data"]["*"] == "py.typed"
    assert [name for name in packages() if not (ROOT / name / "py.typed").exists()] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "sources", ignore=NOT_SOURCES)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=folder / "sources", check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A command of a new environment that has the wheel, run in an empty folder; the dependencies are this one's."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    (site,) = (home / "venv").glob("lib/python*/site-packages")
    dependencies = [entry for entry in sys.path if entry.endswith("-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def command(program: str, *arguments: str) -> str:
        script = site / "bin" / program if program in ("snc", "snrun") else elsewhere / program
        line = [home / "venv" / "bin" / "python", script, *arguments]
        done = subprocess.run(line, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for example in ("res_ffn.py", "samba/logreg.py"):
        shutil.copy(ROOT / "examples" / example, elsewhere)
    return command


@pytest.mark.full
def test_the_wheel_holds_what_its_packages_read(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [path for name in packages() for path in (ROOT / name).rglob("*") if path.is_file()]
    missing = {str(p.relative_to(ROOT)) for p in data if "__pycache__" not in p.parts} - names
    assert missing == set()


@pytest.mark.full
def test_a_model_compiles_and_runs_from_the_wheel(run: Command) -> None:
    assert VERSION in run("snc", "--version")
    run("snc", "compile", "res_ffn.py", "--inference", "-b", "8")
    assert "ok " in run("snrun", "out/res_ffn/res_ffn.pef", "--test")


@pytest.mark.full
def test_a_sambaflow_program_compiles_and_runs_from_the_wheel(run: Command) -> None:
    run("logreg.py", "compile", "--pef-name=logreg")
    run("logreg.py", "test", "--pef=out/logreg/logreg.pef")
