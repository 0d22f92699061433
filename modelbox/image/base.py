"""What an image stands on: a folder with a root file system, or an image in an OCI layout. Nothing is fetched.

Formats: OCI image specification 1.0, `image-layout.md`, `manifest.md` and `config.md`.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ir.errors import Problem, UsageError
from modelbox.image.layers import Blob, layer, named

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
HINT = "give a folder with a root file system that has Python, or an OCI layout: skopeo copy docker://NAME oci:FOLDER"
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Base:
    """Layers that are copied already, as a manifest names them, and the config of their image."""

    layers: list[dict[str, Any]]
    config: dict[str, Any]
    python: str
    """The interpreter's path in the image: of this Python's version, as the distributions were built for it."""


def architecture() -> str:
    """Of this computer, in the words of the specification."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def take(source: Path, blobs: Path) -> Base:
    """Copy a base's layers to `blobs`. Raises UsageError for what is not a base, or one without our Python."""
    if not source.is_dir():
        raise UsageError(Problem(f"the base {source} is not a folder", hint=HINT))
    if (source / "oci-layout").is_file():
        return _Layout(source).take(blobs)
    return _root_folder(source, blobs)


def _root_folder(source: Path, blobs: Path) -> Base:
    names = (path.relative_to(source).as_posix() for folder in ("usr/bin", "usr/local/bin", "bin")
             for path in sorted((source / folder).glob("python3*")))  # fmt: skip
    python = _interpreter(names, source)
    done: list[Blob] = []

    def write(file: Any) -> Blob:
        with layer(file, done) as archive:
            archive.tree(source, ".", keep_times=True)
        return done[-1]

    blob = named(blobs, write)
    config = {"architecture": architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [blob.diff]}}
    return Base([{"mediaType": LAYER, "digest": blob.digest, "size": blob.size}], config, python)


@dataclass
class _Layout:
    """A layout that is read."""

    folder: Path
    _found: list[dict[str, Any]] = field(default_factory=list)

    def take(self, blobs: Path) -> Base:
        manifest = self._json(self._manifest(self._json_file(self.folder / "index.json"))["digest"])
        config = self._json(manifest["config"]["digest"])
        if config.get("architecture") != architecture():
            message = (
                f"the base {self.folder} is for {config.get('architecture')}, and this computer is {architecture()}"
            )
            raise UsageError(Problem(message, hint="what is installed here would not run there"))
        paths = [self._blob(entry["digest"]) for entry in manifest["layers"]]
        python = _interpreter((name for path in paths for name in _names(path)), self.folder)
        for path in paths:
            shutil.copyfile(path, blobs / path.name)
        kept = [{key: entry[key] for key in ("mediaType", "digest", "size")} for entry in manifest["layers"]]
        return Base(kept, config, python)

    def _manifest(self, index: dict[str, Any]) -> dict[str, Any]:
        """The manifest of the only image, or of the one for this computer."""
        entries = index.get("manifests", [])
        fitting = [e for e in entries if e.get("platform", {}).get("architecture") in (None, architecture())]
        if len(fitting) != 1:
            message = f"the base {self.folder} has {len(fitting)} images for {architecture()}, and one is wanted"
            raise UsageError(Problem(message, hint=HINT))
        found: dict[str, Any] = fitting[0]
        if found["mediaType"] == INDEX:
            return self._manifest(self._json(found["digest"]))
        if found["mediaType"] != MANIFEST:
            message = f"the base {self.folder} holds a {found['mediaType']}"
            raise UsageError(Problem(message, hint="skopeo copy --format oci makes an OCI image of it"))
        return found

    def _blob(self, digest: str) -> Path:
        path = self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
        if not DIGEST.match(digest) or not path.is_file():
            raise UsageError(Problem(f"the base {self.folder} lacks its blob {digest}", hint=HINT))
        return path

    def _json(self, digest: str) -> dict[str, Any]:
        return self._json_file(self._blob(digest))

    def _json_file(self, path: Path) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UsageError(Problem(f"{path} of the base cannot be read: {error}", hint=HINT)) from error
        return found


def _names(path: Path) -> Iterator[str]:
    """The names in a layer. Raises UsageError for a compression that Python cannot read."""
    try:
        with tarfile.open(path) as tar:
            yield from (member.name.removeprefix("./") for member in tar)
    except tarfile.TarError as error:
        message = f"a layer of the base cannot be read: {error}"
        raise UsageError(Problem(message, hint="skopeo copy --dest-compress-format gzip")) from error


def _interpreter(names: Iterable[str], source: Path) -> str:
    """Python of this version, among the names of a file system."""
    wanted = re.compile(rf"^(usr/(local/)?)?bin/python{sys.version_info.major}\.{sys.version_info.minor}$")
    for name in names:
        if wanted.match(name):
            return f"/{name}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise UsageError(Problem(f"the base {source} has no Python {version}, for which the box's distributions are",
                             hint=HINT))  # fmt: skip
