"""The simulator's speed beside PyTorch: the same model and step, the same machine, the same number of threads.

    python -m benchmarks.vs_torch [--only lenet] [--threads 2] [--json] [--profile]

PyTorch runs eagerly and as `torch.compile` makes it, where there is a C++ compiler; the forward pass also in ONNX
Runtime, where it is installed. Each side runs in a fresh process; they take turns, a few steps each, so that whatever
else the machine is doing falls on all. The PEF is compiled before. Reported are medians over all steps, and the median
of every turn's ratio. Models of `benchmarks.networks` need transformers.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.host_profile import print_profile
from benchmarks.models import CASES, NETWORKS, compile_case

SETTLE_S = 0.03
"""Between turns: until the threads of the other side have stopped to wait actively for work."""
TURN_S = 1.0
"""About how long a turn may take; slow models take fewer steps in one."""
TOLERANCE = 1e-3
"""Difference of losses over the compared steps, relative to the first: losses fall in training."""

COMPARED_STEPS = 3
"""Steps whose losses are compared: rounding grows sevenfold a step in ResNet-18, under batch norm of eight images."""
RIVALS = ("eager", "compiled", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Result:
    """Medians in milliseconds per step, by side; ratios of the simulator's times to each rival's."""

    model: str
    mode: str
    threads: int
    milliseconds: dict[str, float]
    wall_ratios: dict[str, float]
    cpu_ratios: dict[str, float]
    loss_difference: float


class Side:
    """A worker process."""

    def __init__(self, worker: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", f"benchmarks.{worker}", *map(str, arguments)]
        variables = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )

    def run(self, steps: int) -> list[list[float]]:
        """Wall and processor time of each of so many steps."""
        times: list[list[float]] = self.ask(str(steps))
        return times

    def losses(self) -> list[float]:
        """The loss of every step so far."""
        losses: list[float] = self.ask("losses")
        return losses

    def ask(self, request: str) -> Any:
        """The answer to a line of request."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def rivals(mode: str, wanted: Sequence[str] | None) -> list[str]:
    """Whom this machine can compare with: those wanted, otherwise all that it has what it takes for."""
    if wanted:
        return [rival for rival in wanted if mode == "forward" or rival != "onnxruntime"]
    found = ["eager"]
    if shutil.which(os.environ.get("CXX", "g++")):
        found.append("compiled")
    if mode == "forward" and importlib.util.find_spec("onnxruntime"):
        found.append("onnxruntime")
    return found


def compare(name: str, mode: str, pef: Path, arguments: argparse.Namespace) -> Result:
    """Measure one model in one mode."""
    names = [*rivals(mode, arguments.beside), "rdu"]
    walls: dict[str, list[float]] = {side: [] for side in names}
    wall_ratios: dict[str, list[float]] = {side: [] for side in names[:-1]}
    cpu_ratios: dict[str, list[float]] = {side: [] for side in names[:-1]}
    difference = 0.0
    for _ in range(arguments.processes):
        sides = {side: Side("worker", side, name, mode, pef, arguments.threads) for side in names}
        warm = [side.run(arguments.warmup)[-1][0] for side in sides.values()]
        steps = max(1, min(arguments.steps, math.ceil(TURN_S / max(warm))))
        for _ in range(arguments.turns):
            turn = {}
            for key, side in sides.items():
                time.sleep(SETTLE_S)
                times = side.run(steps)
                walls[key] += [step[0] for step in times]
                turn[key] = [median(column) for column in zip(*times)]
            for rival in names[:-1]:
                wall_ratios[rival].append(turn["rdu"][0] / turn[rival][0])
                cpu_ratios[rival].append(turn["rdu"][1] / turn[rival][1])
        losses = [sides[side].losses() for side in ("eager", "rdu") if side in sides]
        if len(losses) == 2:
            compared = list(zip(*losses))[:COMPARED_STEPS]
            difference = max([difference, *(abs(a - b) / abs(losses[0][0]) for a, b in compared)])
        for side in sides.values():
            side.close()
    return Result(
        name,
        mode,
        arguments.threads,
        {side: 1e3 * median(wall) for side, wall in walls.items()},
        {side: median(ratios) for side, ratios in wall_ratios.items()},
        {side: median(ratios) for side, ratios in cpu_ratios.items()},
        difference,
    )


def print_table(results: list[Result]) -> None:
    """All results, a row each, and the geometric means of each mode."""
    shown = [rival for rival in RIVALS if any(rival in result.wall_ratios for result in results)]
    headers = [f"to {rival}{kind}" for rival in shown for kind in ("", ", CPU time")]
    table = Table("model", "step", "threads", "snc ms", *headers, "loss differs by")
    for r in results:
        ratios = [_number(kind.get(rival)) for rival in shown for kind in (r.wall_ratios, r.cpu_ratios)]
        table.add_row(
            r.model, r.mode, str(r.threads), f"{r.milliseconds['rdu']:.1f}", *ratios, f"{r.loss_difference:.0e}"
        )
    for mode in dict.fromkeys(result.mode for result in results):
        chosen = [result for result in results if result.mode == mode]
        means = [
            _number(_geometric_mean([getattr(r, kind)[rival] for r in chosen if rival in r.wall_ratios]))
            for rival in shown
            for kind in ("wall_ratios", "cpu_ratios")
        ]
        table.add_row("geometric mean", mode, "", "", *means, "")
    Console().print(table)


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _geometric_mean(ratios: list[float]) -> float | None:
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


@contextmanager
def folder_of(arguments: argparse.Namespace) -> Iterator[Path]:
    """Where the PEFs are: the folder given, or one that is gone afterwards."""
    if arguments.pefs:
        arguments.pefs.mkdir(parents=True, exist_ok=True)
        yield arguments.pefs
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*CASES, *NETWORKS]
    parser.add_argument("--only", choices=names, action="append", help="this model; may be given again")
    parser.add_argument("--mode", choices=("forward", "train"), help="only the forward pass, or only training steps")
    parser.add_argument("--beside", choices=RIVALS, action="append", help="this rival; may be given again")
    parser.add_argument("--threads", type=int, default=2, help="of each side")
    parser.add_argument("--processes", type=int, default=3, help="fresh groups of processes")
    parser.add_argument("--turns", type=int, default=7, help="turns of each side in a process")
    parser.add_argument("--steps", type=int, default=5, help="steps in a turn, at most")
    parser.add_argument("--warmup", type=int, default=5, help="steps before the first turn")
    parser.add_argument("--pefs", type=Path, help="keep compiled PEFs in this folder, and use those that are there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--profile", action="store_true", help="where the simulator's time goes, instead of comparing")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    results = []
    with folder_of(arguments) as folder:
        for name in arguments.only or (*CASES, *NETWORKS):
            for mode in [arguments.mode] if arguments.mode else ["forward", "train"]:
                pef = folder / f"{name}.{mode}.pef"
                if not pef.exists():
                    compile_case(name, mode == "train", folder)
                if arguments.profile:
                    print_profile(pef, f"{name} {mode}")
                else:
                    results.append(compare(name, mode, pef, arguments))
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    elif results:
        print_table(results)
    disagreeing = [r for r in results if not r.loss_difference <= TOLERANCE]
    if disagreeing:
        sys.exit(f"losses differ: {', '.join(f'{r.model} {r.mode}' for r in disagreeing)}")


if __name__ == "__main__":
    main()
