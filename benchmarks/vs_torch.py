"""The simulator's speed beside PyTorch eager: the same model and step, the same machine, the same number of threads.

    python -m benchmarks.vs_torch [--only lenet] [--threads 2] [--json] [--profile]

Each side runs in a fresh process; the two take turns, a few steps each, so that whatever else the machine is doing
falls on both. The PEF is compiled before. Reported are medians over all steps, and the median of every turn's ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.host_profile import print_profile
from benchmarks.models import CASES, compile_case

SETTLE_S = 0.03
"""Between turns: until the threads of the other side have stopped to wait actively for work."""
TOLERANCE = 1e-3
"""Relative difference of losses over the steps of a run; rounding grows while both sides train."""


@dataclass(frozen=True, slots=True)
class Result:
    """Medians, in milliseconds per step; ratios of the simulator's times to PyTorch's."""

    model: str
    mode: str
    threads: int
    torch_ms: float
    rdu_ms: float
    wall_ratio: float
    cpu_ratio: float
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


def compare(name: str, mode: str, pef: Path, arguments: argparse.Namespace) -> Result:
    """Measure one model in one mode."""
    walls: tuple[list[float], list[float]] = ([], [])
    wall_ratios, cpu_ratios, difference = [], [], 0.0
    for _ in range(arguments.processes):
        sides = [Side("worker", side, name, mode, pef, arguments.threads) for side in ("torch", "rdu")]
        for side in sides:
            side.run(arguments.warmup)
        for _ in range(arguments.turns):
            turn = []
            for side, wall in zip(sides, walls):
                time.sleep(SETTLE_S)
                times = side.run(arguments.steps)
                wall += [step[0] for step in times]
                turn.append([median(column) for column in zip(*times)])
            wall_ratios.append(turn[1][0] / turn[0][0])
            cpu_ratios.append(turn[1][1] / turn[0][1])
        losses = [side.losses() for side in sides]
        difference = max([difference, *(abs(a - b) / abs(a) for a, b in zip(*losses))])
        for side in sides:
            side.close()
    torch_ms, rdu_ms = (1e3 * median(wall) for wall in walls)
    return Result(name, mode, arguments.threads, torch_ms, rdu_ms, median(wall_ratios), median(cpu_ratios), difference)


def print_table(results: list[Result]) -> None:
    """All results, a row each."""
    table = Table("model", "step", "threads", "PyTorch ms", "snc ms", "ratio", "ratio of CPU time", "loss differs by")
    for r in results:
        times = f"{r.torch_ms:.1f}", f"{r.rdu_ms:.1f}", f"{r.wall_ratio:.2f}", f"{r.cpu_ratio:.2f}"
        table.add_row(r.model, r.mode, str(r.threads), *times, f"{r.loss_difference:.0e}")
    Console().print(table)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(CASES), action="append", help="this model; may be given again")
    parser.add_argument("--mode", choices=("forward", "train"), help="only the forward pass, or only training steps")
    parser.add_argument("--threads", type=int, default=2, help="of each side")
    parser.add_argument("--processes", type=int, default=3, help="fresh pairs of processes")
    parser.add_argument("--turns", type=int, default=7, help="turns of each side in a process")
    parser.add_argument("--steps", type=int, default=5, help="steps in a turn")
    parser.add_argument("--warmup", type=int, default=5, help="steps before the first turn")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--profile", action="store_true", help="where the simulator's time goes, instead of comparing")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or CASES:
            for mode in [arguments.mode] if arguments.mode else ["forward", "train"]:
                pef = compile_case(name, mode == "train", Path(folder))
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
