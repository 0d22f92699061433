"""The image in an OCI layout: the same bytes twice, as the specification says, and it serves under runc."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import httpx
import pytest

from ir.errors import UsageError
from modelbox.box_file import Home
from modelbox.image import layout
from modelbox.image.layout import write

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
TOOLS = ("skopeo", "umoci", "oci-image-tool", "runc", "debootstrap")


def few(home: Home) -> dict[str, Distribution]:
    """Instead of all distributions: the tests are about the image."""
    return {name: distribution(name) for name in ("click", "packaging")}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A root file system with nothing in it but an interpreter's name, a link and a file with a mode."""
    root = tmp_path / "root"
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / PYTHON).write_text("#!")
    (root / "usr" / "bin" / PYTHON).chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "full" not in request.keywords:
        monkeypatch.setattr(layout, "needed", few)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blob(image: Path, digest: str) -> bytes:
    found = (image / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(found).hexdigest()}" == digest
    return found


def parts(image: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and config."""
    index = json.loads((image / "index.json").read_text())
    manifest = json.loads(blob(image, index["manifests"][0]["digest"]))
    return manifest, json.loads(blob(image, manifest["config"]["digest"]))


def names(image: Path) -> Iterator[tarfile.TarInfo]:
    for entry in parts(image)[0]["layers"]:
        with tarfile.open(image / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")) as tar:
            yield from tar.getmembers()


def test_two_builds_are_the_same_bytes(dense: Home, base: Path, tmp_path: Path) -> None:
    write(dense, tmp_path / "first", base)
    time.sleep(1.1)  # a clock that got in would show
    write(dense, tmp_path / "second", base)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_digests_and_sizes_are_those_of_the_blobs(dense: Home, base: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    write(dense, image, base)
    manifest, config = parts(image)
    for entry, diff in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        found = blob(image, entry["digest"])
        assert len(found) == entry["size"]
        assert f"sha256:{hashlib.sha256(gzip.decompress(found)).hexdigest()}" == diff
    assert len(list((image / "blobs" / "sha256").iterdir())) == len(manifest["layers"]) + 2


def test_everything_is_in_it_and_nothing_of_this_computer(dense: Home, base: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    write(dense, image, base)
    found = {info.name: info for info in names(image)}
    for name in ("box/box.yaml", "opt/snc/bin/snc", "opt/snc/compiler/cli.py", "opt/snc/lib/click/__init__.py"):
        assert found[name].isfile()
    assert found["bin"].issym() and found[f"usr/bin/{PYTHON}"].mode == 0o755
    assert found["box/state"].isdir() and found["box/state"].uid == layout.USER
    assert not any("__pycache__" in name or name.endswith("direct_url.json") for name in found)
    assert {info.mtime for name, info in found.items() if name.startswith(("opt", "box"))} == {0}


def test_a_layout_is_a_base_too(dense: Home, base: Path, tmp_path: Path) -> None:
    write(dense, tmp_path / "lower", base)
    write(dense, tmp_path / "upper", tmp_path / "lower")
    lower, upper = parts(tmp_path / "lower")[0]["layers"], parts(tmp_path / "upper")[0]["layers"]
    assert upper[: len(lower)] == lower and len(upper) == len(lower) + 3


def test_a_base_that_will_not_do_is_told_and_nothing_is_left(dense: Home, base: Path, tmp_path: Path) -> None:
    (base / "usr" / "bin" / PYTHON).unlink()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "oci-layout").write_text("{}")
    for wrong, words in (
        (base, PYTHON.removeprefix("python")),
        (damaged, "index.json"),
        (base / "bin" / "x", "folder"),
    ):
        with pytest.raises(UsageError, match=words):
            write(dense, tmp_path / "image", wrong)
    assert not (tmp_path / "image").exists() and not list(tmp_path.glob(".image*"))


DEBIAN = {(3, 11): "bookworm", (3, 13): "trixie"}
"""The release that has a Python."""


@pytest.mark.full
def test_the_image_is_valid_and_serves_under_runc(dense: Home, tmp_path: Path) -> None:
    """All distributions, on a Debian made for it (or the root file system that SNC_IMAGE_BASE names)."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    root = Path(os.environ.get("SNC_IMAGE_BASE", tmp_path / "root"))
    if not root.exists():
        release = DEBIAN.get(sys.version_info[:2])
        made = ["debootstrap", "--variant=minbase", "--include=python3", release or "", str(root)]
        if release is None or subprocess.run(made, capture_output=True, check=False).returncode:
            pytest.skip("debootstrap could not make a root file system here")
    image = tmp_path / "image"
    write(dense, image, root)
    subprocess.run(["skopeo", "inspect", f"oci:{image}:latest"], check=True, capture_output=True)
    checked = ["oci-image-tool", "validate", "--type", "image", "--ref", "name=latest", str(image)]
    subprocess.run(checked, check=True, capture_output=True)
    bundle = tmp_path / "bundle"
    unpacked = subprocess.run(
        ["umoci", "unpack", "--image", f"{image}:latest", bundle], capture_output=True, check=False
    )
    if unpacked.returncode:
        pytest.skip("umoci may not unpack here: it takes the rights of root")
    config = json.loads((bundle / "config.json").read_text())
    process = config["process"]
    process["rlimits"], process["terminal"] = [], False
    process["args"] += ["--http-port=0", "--grpc-port=0"]
    spaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [space for space in spaces if space["type"] != "network"]
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"box-{os.getpid()}"
    command = ["runc", "--root", str(tmp_path / "runc"), "run", "--bundle", str(bundle), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as container:
        assert container.stdout is not None and container.stderr is not None
        line = container.stdout.readline()
        if not line:
            pytest.skip(f"runc cannot run containers here: {container.stderr.read()[-300:]}")
        where = json.loads(line)["http"].replace("0.0.0.0", "127.0.0.1")
        given = {"name": "x", "datatype": "FP32", "shape": [1, 8], "data": [1.0] * 8}
        assert httpx.post(f"{where}/v2/models/dense/infer", json={"inputs": [given]}).status_code == 200
        subprocess.run(["runc", "--root", str(tmp_path / "runc"), "kill", name, "TERM"], check=True)
        assert container.wait(timeout=60) == 0
    _serves_under_podman(image, tmp_path)


def _serves_under_podman(image: Path, folder: Path) -> None:
    """Where podman is: the same image, by one command, until SIGTERM. Its limits are given, as not every computer lets
    podman raise those it would choose."""
    if shutil.which("podman") is None:
        return
    state = tempfile.mkdtemp(prefix="podman-")  # podman takes 50 characters at most
    storage = ["--root", str(folder / "storage"), "--runroot", state]
    command = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *storage, "run", "--rm"]
    command += ["--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    command += ["--security-opt", "seccomp=unconfined", f"oci:{image}:latest", "--http-port=0", "--grpc-port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as container:
        assert container.stdout is not None and container.stderr is not None
        line = container.stdout.readline()
        assert line, container.stderr.read()[-3000:]
        where = json.loads(line)["http"].replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{where}/v2/health/ready").json() == {"ready": True}
        container.terminate()
        assert container.wait(timeout=60) == 0
    shutil.rmtree(state, ignore_errors=True)
