"""A box under load, beside a plain PyTorch server of the same model, and at ten times what it can bear.

    python -m benchmarks.box_load                      # both models, some ten minutes
    python -m benchmarks.box_load --model heavy --times 10 --seconds 120 --rounds 1 --json

Two models: a heavy one, whose answers take the device longer than the service, and a light one, whose answers cost
mostly HTTP. Clients have a core of their own, and service and PyTorch the others, so that what clients cost is not
taken from answers; figures are still comparable with one another only. Rounds take turns, so that what else this
computer does falls on all of them: a closed loop, then rates up to ten times its own, as far as one core of clients can
send on ten times as many connections, counted once those are open and two seconds have passed. Shares of the peak are
of answers per second of the service's processor time, which is what refusing costs, on a busy computer too. Each is
compared with the closed loop of its own round, as if the service's core had been as fast in both, which
`benchmarks.core_speed` measures; the mean has its standard error. Where other work comes and goes, many short rounds
are the surest. Every answer is compared with the one that the same request got
alone, bit for bit; what is lost, wrong or refused without `Retry-After` is counted, and makes the exit status 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.box_client import Connection, Load, Outcome
from benchmarks.core_speed import Meter, metering
from modelbox.box_file import FILE, Home
from modelbox.creation import create

MODEL = """
import torch
from torch import nn


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        sizes = [64, {width}, {width}, {width}, {width}, 16]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


model = Deep


def inputs(batch_size={batch}):
    return {{"x": torch.randn(batch_size, 64)}}
"""
MODELS = {"heavy": {"width": 4096, "batch": 2}, "light": {"width": 64, "batch": 16}}
FACTORS = (1.0, 2.0, 10.0)
WARM_UP_SECONDS = 2.0
PATIENCE = 2.0
"""An answer is in time if it takes at most so many times as long as the slowest of the closed loop."""


def shared_out() -> tuple[set[int], set[int]]:
    """Cores for the services, and the one for the clients."""
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[:-1] or cores), set(cores[-1:])


@dataclass(frozen=True)
class Server:
    """A process that serves. http: its URL; grpc: HOST:PORT, or nothing where it speaks none."""

    http: str
    grpc: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mib(self, what: str) -> int:
        """Memory that it has (VmRSS), or had at most (VmHWM)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{what}:"))) >> 10


@contextmanager
def serving(command: list[str]) -> Iterator[Server]:
    """A process that prints one line of JSON with its address."""
    services, _ = shared_out()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, services),
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise click.ClickException(f"{' '.join(command)} did not start")
        try:
            where = json.loads(line)
            yield Server(where["http"], where.get("grpc", ""), process.pid)
        finally:
            process.terminate()


@contextmanager
def box(folder: Path, model: str, queue: int) -> Iterator[Server]:
    """The service of a new box."""
    file = folder / "deep.py"
    file.write_text(MODEL.format(**MODELS[model]))
    home = create(folder / "box", f"file:{file}", name="deep", batch=MODELS[model]["batch"], uses=("inference",))
    with served(home, queue) as server:
        yield server


@contextmanager
def served(home: Home, queue: int) -> Iterator[Server]:
    """The service of a box in which so many requests may wait."""
    limited = home.box.model_dump(mode="json") | {"limits": {"queue": queue}}
    (home.folder / FILE).write_text(json.dumps(limited))
    start = [sys.executable, "-c", "from compiler.cli import main; main()", "box", "serve", str(home.folder)]
    with serving([*start, "--http-port=0", "--grpc-port=0"]) as server:
        yield server


@contextmanager
def plain(folder: Path) -> Iterator[Server]:
    """A plain PyTorch server of the same model."""
    with serving([sys.executable, "-m", "benchmarks.plain_server", str(folder / "deep.py")]) as server:
        yield server


def requests(count: int) -> list[bytes]:
    """Bodies with one sample each."""
    rows = np.random.default_rng(0).standard_normal((count, 64), np.float32)
    tensors = [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": row.tolist()} for row in rows]
    return [json.dumps({"inputs": [tensor]}).encode() for tensor in tensors]


async def load(server: Server, bodies: list[bytes]) -> Load:
    """Requests, and for each the answer that it gets alone."""
    path = "/v2/models/deep/infer"
    alone = []
    connection = Connection(server.http)
    for body in bodies:
        status, _, content = await connection.post(path, body)
        assert status == 200, content
        alone.append(json.loads(content)["outputs"])
    connection.close()
    right = lambda number, answer: answer["outputs"] == alone[number]  # noqa: E731
    return Load(server.http, path, bodies, right, server.cpu_seconds)


async def under_load(
    server: Server, meter: Meter, clients: int, seconds: float, rounds: int, factors: tuple[float, ...]
) -> dict[str, Any]:
    """Rounds of a closed loop and of open ones at multiples of its rate."""
    ready = await load(server, requests(32))
    await ready.closed(clients, WARM_UP_SECONDS)
    resident = server.mib("VmRSS")
    runs: dict[str, list[Outcome]] = {}
    for _ in range(rounds):
        ready.deadline = float("inf")
        closed = await ready.closed(clients, seconds)
        runs.setdefault("closed", []).append(closed)
        ready.deadline = PATIENCE * max(closed.latency)
        for factor in factors:
            found = await ready.open(closed.goodput * factor, seconds, 10 * clients, WARM_UP_SECONDS)
            runs.setdefault(f"{factor:g}", []).append(found)
    return {
        "runs": {label: [_summary(run, meter) for run in found] for label, found in runs.items()},
        "resident_mib": {"after_warm_up": resident, "peak": server.mib("VmHWM")},
    }


def _summary(run: Outcome, meter: Meter) -> dict[str, Any]:
    """Of a run, with how fast the service's core was."""
    return run.summary() | {"core_microseconds": meter.microseconds(run.began, run.began + run.seconds)}


@click.command()
@click.option("--model", "models", type=click.Choice(list(MODELS)), multiple=True, default=list(MODELS))
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of each run.")
@click.option("--rounds", default=12, show_default=True)
@click.option("--queue", default=64, show_default=True, help="The box's limit.")
@click.option(
    "--times", "factors", type=float, multiple=True, default=FACTORS, show_default=True, help="The closed loop's rate."
)
@click.option("--json", "as_json", is_flag=True)
def main(
    models: tuple[str, ...],
    clients: int,
    seconds: float,
    rounds: int,
    queue: int,
    factors: tuple[float, ...],
    as_json: bool,
) -> None:
    """Measure."""
    os.sched_setaffinity(0, shared_out()[1])
    found: dict[str, Any] = {}
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            with box(Path(folder), model, queue) as server, metering(min(shared_out()[0])) as meter:
                measured = asyncio.run(under_load(server, meter, clients, seconds, rounds, factors))
                found[f"{model}, box"] = measured
            with plain(Path(folder)) as server, metering(min(shared_out()[0])) as meter:
                measured = asyncio.run(under_load(server, meter, clients, seconds, rounds, ()))
                found[f"{model}, plain PyTorch"] = measured
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _table(found)
    runs = [run for name in found if "box" in name for several in found[name]["runs"].values() for run in several]
    if any(run["wrong"] or run["lost"] or run["refused_without_retry_after"] for run in runs):
        raise SystemExit("answers were lost, wrong, or refused without Retry-After")


def _share(runs: list[dict[str, Any]], closed: list[dict[str, Any]]) -> tuple[float, float]:
    """Goodput of runs as a share of the closed loop's of the same round: geometric mean, and its standard error."""

    def per_work(run: dict[str, Any]) -> float:
        return float(run["goodput_per_cpu_second"] * run["core_microseconds"])

    ratios = np.log([per_work(run) / per_work(peak) for run, peak in zip(runs, closed, strict=True)])
    share = float(np.exp(ratios.mean()))
    return share, share * float(ratios.std()) / len(ratios) ** 0.5


def _table(found: dict[str, Any]) -> None:
    """Of each run the median of the rounds; of shares the mean."""
    rates = ("offered", "goodput", "goodput_per_cpu_second")
    times = ("p50_ms", "p95_ms", "p99_ms")
    click.echo(
        f"{'':34}{'offered/s':>10}{'goodput/s':>10}{'per CPU s':>10}{'of peak':>14}{'p50':>8}{'p95':>8}{'p99 ms':>8}"
    )
    for name, measured in found.items():
        for label, runs in measured["runs"].items():
            run = {key: statistics.median(run[key] for run in runs) for key in (*rates, *times)}
            share, error = _share(runs, measured["runs"]["closed"])
            which = "closed loop" if label == "closed" else f"{label} x its rate"
            cells = "".join(f"{run[key]:10.1f}" for key in rates) + f"{share:8.1%} ±{error:4.1%}"
            click.echo(f"{name + ', ' + which:34.34}{cells}{''.join(f'{run[key]:8.1f}' for key in times)}")
        statuses: Counter[str] = Counter()
        for runs in measured["runs"].values():
            for run in runs:
                statuses.update(run["statuses"])
        memory = measured["resident_mib"]
        click.echo(
            f"    answers by status {dict(statuses)}; resident {memory['after_warm_up']} MiB after the first requests, "
            f"at most {memory['peak']} MiB"
        )


if __name__ == "__main__":
    main()
