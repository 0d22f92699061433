"""What an image is built from: complete, the same twice, and it serves from a fresh folder with nothing else around."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from ir.errors import UsageError
from modelbox.box_file import Home
from modelbox.image.containerfile import write as build
from modelbox.image.requirements import pinned

BASE = "registry/python@sha256:0"


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_two_builds_are_the_same_bytes(dense: Home, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    build(dense, first, BASE)
    build(dense, second, BASE)
    names = files(first)
    assert names == files(second)
    assert filecmp.cmpfiles(first, second, names, shallow=False)[0] == names
    build(dense, first, BASE)  # over the one before
    assert names == files(first)
    assert not any("__pycache__" in path.parts for path in names)


def test_the_containerfile_says_all_that_an_engine_needs(dense: Home, tmp_path: Path) -> None:
    image = tmp_path / "image"
    build(dense, image, BASE)
    lines = (image / "Containerfile").read_text().splitlines()
    assert lines[0] == f"FROM {BASE}"
    for line in lines:
        if line.startswith("COPY"):
            assert (image / line.split()[-2]).exists()
    assert {"EXPOSE 8080 8081", "STOPSIGNAL SIGTERM", "USER 10001"} <= set(lines)
    assert yaml.safe_load((image / "compose.yaml").read_text())["services"]["dense"]["read_only"] is True
    assert yaml.safe_load((image / "kubernetes.yaml").read_text())["kind"] == "Deployment"
    assert not any((image / "box" / "state").iterdir())


def test_requirements_are_pinned_and_no_more_than_the_box_needs(dense: Home) -> None:
    names = [line.partition("==")[0] for line in pinned(dense)]
    assert names == sorted(names) and {"torch", "fastapi", "grpcio", "starlette"} <= set(names)
    assert "transformers" not in names and "pytest" not in names
    assert all("==" in line and "+" not in line for line in pinned(dense))


def test_it_serves_from_a_fresh_folder(dense: Home, tmp_path: Path) -> None:
    image = tmp_path / "image"
    build(dense, image, BASE)
    entry = next(
        line.removeprefix("ENTRYPOINT ")
        for line in (image / "Containerfile").read_text().splitlines()
        if "ENTRY" in line
    )
    command = [word.replace("/box", str(image / "box")) for word in json.loads(entry)[1:]]
    start = f"import sys; sys.path.insert(0, {str(image / 'toolchain')!r}); import compiler.cli; "
    code = start + "print(compiler.cli.__file__, flush=True); compiler.cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command, "--http-port=0", "--grpc-port=0"],
        cwd=image / "box",
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(str(image / "toolchain"))
        where = json.loads(process.stdout.readline())["http"]
        given = {"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [1.0] * 8}
        assert httpx.post(f"{where}/v2/models/dense/infer", json={"inputs": [given]}).status_code == 200
        probe = [sys.executable, "-m", "modelbox.probe"]
        assert subprocess.run([*probe, where], cwd=image / "toolchain", check=False).returncode == 0
        assert subprocess.run([*probe, "http://127.0.0.1:1"], cwd=image / "toolchain", check=False).returncode == 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_is_in_the_way_is_left_alone(dense: Home, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    for image in (tmp_path, dense.folder / "image"):
        with pytest.raises(UsageError):
            build(dense, image, BASE)
    assert (tmp_path / "mine").read_text() == "keep"
