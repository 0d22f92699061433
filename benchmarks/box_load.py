"""A box under load, beside a plain PyTorch server of the same model, and at ten times what it can bear.

    python -m benchmarks.box_load                      # 64 clients for 20 s each, then rates up to ten times the peak
    python -m benchmarks.box_load --seconds 120 --json

Clients, service and PyTorch share this computer's cores, so figures are comparable with one another only. Every answer
is compared with the one that the same request got alone, bit for bit; what is lost, wrong or refused without
`Retry-After` is counted, and makes the exit status 1.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.box_client import Load

WIDTH = 4096
BATCH = 2
DEADLINE_SECONDS = 2.0
MODEL = f"""
import torch
from torch import nn


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        sizes = [64, {WIDTH}, {WIDTH}, {WIDTH}, {WIDTH}, 16]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


model = Deep


def inputs(batch_size={BATCH}):
    return {{"x": torch.randn(batch_size, 64)}}
"""


@contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """A process that prints one line of JSON with its address; the address."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise click.ClickException(f"{' '.join(command)} did not start")
        try:
            yield json.loads(line)["http"]
        finally:
            process.terminate()


@contextmanager
def box(folder: Path, queue: int) -> Iterator[str]:
    """The service of a new box."""
    from modelbox.box_file import FILE
    from modelbox.creation import create

    model = folder / "deep.py"
    model.write_text(MODEL)
    home = create(folder / "box", f"file:{model}", name="deep", batch=BATCH, uses=("inference",))
    limited = home.box.model_dump(mode="json") | {"limits": {"queue": queue}}
    (home.folder / FILE).write_text(json.dumps(limited))
    start = [sys.executable, "-c", "from compiler.cli import main; main()", "box", "serve", str(home.folder)]
    with serving([*start, "--http-port=0", "--grpc-port=0"]) as url:
        yield url


@contextmanager
def plain(folder: Path) -> Iterator[str]:
    """A plain PyTorch server of the same model."""
    with serving([sys.executable, "-m", "benchmarks.plain_server", str(folder / "deep.py")]) as url:
        yield url


def requests(count: int) -> list[bytes]:
    """Bodies with one sample each."""
    rows = np.random.default_rng(0).standard_normal((count, 64), np.float32)
    tensors = [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": row.tolist()} for row in rows]
    return [json.dumps({"inputs": [tensor]}).encode() for tensor in tensors]


async def load(url: str, bodies: list[bytes]) -> Load:
    """Requests, and for each the answer that it gets alone."""
    from benchmarks.box_client import Connection

    path = "/v2/models/deep/infer"
    alone = []
    connection = Connection(url)
    for body in bodies:
        status, _, content = await connection.post(path, body)
        assert status == 200, content
        alone.append(json.loads(content)["outputs"])
    connection.close()
    return Load(url, path, bodies, lambda number, answer: answer["outputs"] == alone[number], DEADLINE_SECONDS)


async def under_load(url: str, clients: int, seconds: float, factors: tuple[float, ...]) -> dict[str, Any]:
    """The closed loop, then the open one at multiples of its rate."""
    ready = await load(url, requests(32))
    await ready.closed(clients, 2.0)  # to warm up
    closed = await ready.closed(clients, seconds)
    found: dict[str, Any] = {"closed": closed.summary()}
    peak = closed.in_time / closed.seconds
    found["open"] = {f"{f:g}": (await ready.open(peak * f, seconds / 2)).summary() for f in factors}
    return found


@click.command()
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of the closed loop; half of it for each rate.")
@click.option("--queue", default=64, show_default=True, help="The box's limit.")
@click.option("--json", "as_json", is_flag=True)
def main(clients: int, seconds: float, queue: int, as_json: bool) -> None:
    """Measure."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        with box(Path(folder), queue) as url:
            found["box"] = asyncio.run(under_load(url, clients, seconds, (0.5, 1, 2, 5, 10)))
        with plain(Path(folder)) as url:
            found["plain PyTorch"] = asyncio.run(under_load(url, clients, seconds, ()))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _table(found)
    runs = [found["box"]["closed"], *found["box"]["open"].values()]
    if any(run["wrong"] or run["lost"] or run["refused_without_retry_after"] for run in runs):
        raise SystemExit("answers were lost, wrong, or refused without Retry-After")


def _table(found: dict[str, Any]) -> None:
    click.echo(f"{'':24}{'answers/s':>10}{'p50':>8}{'p95':>8}{'p99 ms':>8}  statuses")
    for name, runs in found.items():
        rows = {"closed loop": runs["closed"], **{f"{f} x peak": run for f, run in runs["open"].items()}}
        for label, run in rows.items():
            times = "".join(f"{run[f'p{q}_ms']:8.1f}" for q in (50, 95, 99))
            click.echo(f"{name + ', ' + label:24.24}{run['goodput']:10.1f}{times}  {run['statuses']}")


if __name__ == "__main__":
    main()
