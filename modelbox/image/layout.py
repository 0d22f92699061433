"""An image of a box in an OCI layout: the base's layers, then distributions, toolchain and box, a layer each.

PEFs and checkpoints need not be in the image: what is mounted over /box/pefs and /box/checkpoint takes their place.
Two builds from the same box, installation and base are the same bytes: nothing of the clock gets in. Distributions
come without compiled files, so the first start of a container takes a few seconds more.

Formats: OCI image specification 1.0, `image-layout.md`, `manifest.md` and `config.md`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelbox.box_file import Home
from modelbox.image.base import CONFIG, INDEX, LAYER, MANIFEST, Base, take
from modelbox.image.contents import USER, copy_box, copy_toolchain, require_place
from modelbox.image.layers import Archive, Blob, layer, named, plain_blob
from modelbox.image.requirements import needed
from modelzoo.checkpoints.folders import replacing_folder

TAG = "latest"
SNC = "/opt/snc"
LIBRARIES = "/opt/snc/lib"
LAUNCHER = "/opt/snc/bin/snc"
START = """\
#!{python}
import sys
from compiler.cli import main
sys.argv[0] = "snc"
main()
"""


def write(home: Home, image: Path, base: Path, progress: Callable[[str], None] = lambda step: None) -> list[Path]:
    """Write the layout; it appears whole or not at all. Raises UsageError where something is in its way.

    image: the layout's folder. base: a folder with a root file system, or an OCI layout. progress: told of each step.
    """
    require_place(image, home, "oci-layout")
    installed = needed(home)
    with replacing_folder(image) as new, tempfile.TemporaryDirectory() as scratch:
        blobs = new / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        progress("base")
        found = take(base, blobs)
        copy_toolchain(Path(scratch) / "toolchain")
        copy_box(home, Path(scratch) / "box")

        def distributions(archive: Archive) -> None:
            for distribution in installed.values():
                archive.distribution(distribution, LIBRARIES)

        def toolchain(archive: Archive) -> None:
            archive.tree(Path(scratch) / "toolchain", SNC)
            archive.file(LAUNCHER, START.format(python=found.python).encode(), 0o755)

        def box(archive: Archive) -> None:
            archive.tree(Path(scratch) / "box", "/box", owner=USER)

        added = []
        for step in (distributions, toolchain, box):
            progress(step.__name__)
            added.append(_layer(blobs, step))
        _finish(new, blobs, home, found, added)
    return [image]


def _layer(blobs: Path, fill: Callable[[Archive], None]) -> Blob:
    done: list[Blob] = []

    def written(file: Any) -> Blob:
        with layer(file, done) as archive:
            fill(archive)
        return done[-1]

    return named(blobs, written)


def _finish(new: Path, blobs: Path, home: Home, base: Base, added: list[Blob]) -> None:
    """Config, manifest and index."""
    config = plain_blob(blobs, _json(_config(home, base, added)))
    layers = [*base.layers, *({"mediaType": LAYER, "digest": blob.digest, "size": blob.size} for blob in added)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
        "layers": layers,
    }
    blob = plain_blob(blobs, _json(manifest))
    platform = {"architecture": base.config["architecture"], "os": base.config["os"]}
    entry = {"mediaType": MANIFEST, "digest": blob.digest, "size": blob.size, "platform": platform,
             "annotations": {"org.opencontainers.image.ref.name": TAG}}  # fmt: skip
    (new / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (new / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))


def _config(home: Home, base: Base, added: list[Blob]) -> dict[str, Any]:
    listen = home.box.listen
    inherited = base.config.get("config", {})
    variables = dict(line.split("=", 1) for line in inherited.get("Env", []))
    path = variables.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    variables |= {
        "PATH": f"{Path(LAUNCHER).parent}:{path}",
        "PYTHONPATH": f"{SNC}:{LIBRARIES}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": "/tmp",
    }
    return {
        "architecture": base.config["architecture"],
        "os": base.config["os"],
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [f"{name}={value}" for name, value in sorted(variables.items())],
            "Entrypoint": [LAUNCHER, "box", "serve", "/box"],
            "Cmd": ["--host", "0.0.0.0"],
            "WorkingDir": "/box",
            "StopSignal": "SIGTERM",
            "ExposedPorts": {f"{port}/tcp": {} for port in sorted({listen.http or 8080, listen.grpc or 8081})},
            "Volumes": {"/box/state": {}},
            "Labels": {"org.opencontainers.image.title": home.box.name},
        },
        "rootfs": {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], *(b.diff for b in added)]},
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
