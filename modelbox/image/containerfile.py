"""A folder that a container engine builds an image of a box from: a Containerfile, the box, and this toolchain.

PEFs and checkpoints need not be in the image: what is mounted over /box/pefs and /box/checkpoint takes their place.
Two builds of the same box are the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from modelbox.box_file import Home
from modelbox.image.contents import USER, copy_box, copy_toolchain, require_place
from modelbox.image.requirements import pinned
from modelzoo.checkpoints.folders import replacing_folder
from pef.files import write_bytes

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


def write(home: Home, folder: Path, base: str) -> list[Path]:
    """Write the folder; it appears whole or not at all. Raises UsageError where something is in its way."""
    require_place(folder, home, "Containerfile")
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
    with replacing_folder(folder) as new:
        for name, text in texts.items():
            write_bytes(new / name, text.encode())
        copy_toolchain(new / "toolchain")
        copy_box(home, new / "box")
    return [folder / name for name in sorted([*texts, "box", "toolchain"])]
