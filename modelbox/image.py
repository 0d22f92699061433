"""What an OCI image of a box is built from: a folder with a Containerfile, the box, and the toolchain at this version.

PEFs and checkpoints need not be in the image: what is mounted over /box/pefs and /box/checkpoint takes their place.
Two builds of the same box are the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from ir.errors import Problem, UsageError
from modelbox.box_file import FILE, Home
from modelbox.sources import HUGGING_FACE, ZOO, Source
from modelzoo.checkpoints.folders import replacing_folder
from pef.files import write_bytes

TOOLCHAIN = Path(__file__).resolve().parent.parent
PACKAGES = ("ir", "pef", "runtime", "backends", "compiler", "workbench", "sambaflow", "modelzoo", "modelbox")
FILES = ("snc_house.py", "setup.cfg", "pyproject.toml", "README.md")
LEFT_OUT = ("__pycache__", "*.pyc", "*.egg-info")
STATE = "state"
USER = 10001

CONTAINERFILE = """\
FROM {base}
COPY requirements.txt /opt/snc/requirements.txt
RUN python3 -m pip install --no-cache-dir -r /opt/snc/requirements.txt
COPY toolchain /opt/snc
RUN python3 -m pip install --no-cache-dir --no-deps /opt/snc
COPY --chown={user}:{user} box /box
USER {user}
WORKDIR /box
ENV OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
EXPOSE {http} {grpc}
VOLUME /box/state
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --start-period=120s CMD ["python3", "-m", "modelbox.probe", "http://127.0.0.1:{http}"]
ENTRYPOINT ["snc", "box", "serve", "/box"]
CMD ["--host", "0.0.0.0"]
"""

COMPOSE = """\
services:
  {name}:
    build: .
    ports: ["127.0.0.1:{http}:{http}", "127.0.0.1:{grpc}:{grpc}"]
    volumes:
      - ./box/pefs:/box/pefs:ro
      - state:/box/state
    read_only: true
    tmpfs: [/tmp]
    stop_grace_period: 40s
volumes:
  state:
"""

KUBERNETES = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {label}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {label}}}}}
  template:
    metadata: {{labels: {{app: {label}}}}}
    spec:
      terminationGracePeriodSeconds: 40
      containers:
        - name: box
          image: {label}:latest
          ports: [{{containerPort: {http}}}, {{containerPort: {grpc}}}]
          livenessProbe: {{httpGet: {{path: /v2/health/live, port: {http}}}}}
          readinessProbe: {{httpGet: {{path: /v2/health/ready, port: {http}}}}}
          startupProbe: {{httpGet: {{path: /health, port: {http}}}, failureThreshold: 60}}
          volumeMounts: [{{name: state, mountPath: /box/state}}]
      volumes: [{{name: state, emptyDir: {{}}}}]
"""


def build(home: Home, image: Path, base: str) -> list[Path]:
    """Write the folder; it appears whole or not at all. Raises UsageError where something is in its way."""
    if image.exists() and not (image / "Containerfile").is_file() and any(image.iterdir()):
        raise UsageError(Problem(f"{image} holds something else", hint="give a folder that does not exist yet"))
    if image.resolve().is_relative_to(home.folder):
        raise UsageError(Problem(f"{image} lies within the box", hint="give a folder outside of it"))
    listen = home.box.listen
    values = {"http": listen.http or 8080, "grpc": listen.grpc or 8081, "name": home.box.name, "base": base}
    label = home.box.name.lower().replace("_", "-").replace(".", "-")
    texts = {
        "Containerfile": CONTAINERFILE.format(**values, user=USER),
        "compose.yaml": COMPOSE.format(**values),
        "kubernetes.yaml": KUBERNETES.format(**values, label=label),
        "requirements.txt": "\n".join(pinned(home)) + "\n",
        ".containerignore": "**/__pycache__\n",
    }
    with replacing_folder(image) as new:
        _fill(new, home, texts)
    return [image / name for name in sorted([*texts, "box", "toolchain"])]


def _fill(new: Path, home: Home, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write_bytes(new / name, text.encode())
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    for package in PACKAGES:
        shutil.copytree(TOOLCHAIN / package, new / "toolchain" / package, ignore=ignore)
    for name in FILES:
        if (TOOLCHAIN / name).is_file():
            shutil.copyfile(TOOLCHAIN / name, new / "toolchain" / name)
    shutil.copytree(home.folder, new / "box", ignore=shutil.ignore_patterns(STATE, *LEFT_OUT, ".snc-*"))
    (new / "box" / STATE).mkdir()
    box = home.box.model_dump(mode="json", exclude_defaults=True) | {"box": 1}
    write_bytes(new / "box" / FILE, json.dumps(box, indent=1).encode())  # JSON is YAML


def pinned(home: Home) -> list[str]:
    """The distributions that the box needs, at the versions installed here, in the order of their names."""
    extras = ["box"] + (["zoo"] if Source.of(home.box.model).kind in (ZOO, HUGGING_FACE) else [])
    found: dict[str, str] = {}
    for requirement in _own_requirements(extras):
        _follow(requirement, found)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _own_requirements(extras: Iterable[str]) -> Iterator[Requirement]:
    """What the toolchain itself says that it needs."""
    settings = ConfigParser()
    settings.read(TOOLCHAIN / "setup.cfg")
    if not settings.has_section("options"):
        raise UsageError(Problem("images are built from a checkout of the project", hint="pip install -e . in one"))
    texts = [settings["options"]["install_requires"]]
    texts += [settings["options.extras_require"][extra] for extra in extras]
    for line in "\n".join(texts).splitlines():
        if line.strip():
            yield from _asked_for(Requirement(line.strip()))


def _follow(requirement: Requirement, found: dict[str, str]) -> None:
    """A requirement and those of it."""
    name = requirement.name.lower().replace("_", "-")
    if name in found:
        return
    try:
        installed = distribution(name)
    except PackageNotFoundError as error:
        hint = "install the extras first: pip install -e '.[box,zoo]'"
        raise UsageError(Problem(f"{name} is not installed here", hint=hint)) from error
    found[name] = installed.version.partition("+")[0]
    for text in installed.requires or []:
        for needed in _asked_for(Requirement(text), requirement.extras):
            _follow(needed, found)


def _asked_for(requirement: Requirement, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """The requirement, if it holds on this computer and with these extras."""
    marker = requirement.marker
    if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
        yield requirement
