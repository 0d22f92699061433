"""The files that a run leaves behind: summaries for people, metrics for programs; host and simulated time apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pef.files import write_bytes


class Step(Protocol):
    """One step of training."""

    @property
    def tokens(self) -> int:
        """Tokens that were learned from."""

    @property
    def loss(self) -> float:
        """The mean loss."""

    @property
    def learning_rate(self) -> float:
        """What it was."""

    @property
    def seconds(self) -> float:
        """Of host time."""


@dataclass(frozen=True)
class TrainingSummary:
    """What a summary says beside what follows from its steps."""

    epochs: int
    batch_per_worker: int
    parameters: int
    simulated_us_per_step: float
    evaluation_loss: float | None = None


def write_training(folder: Path, summary: TrainingSummary, steps: Sequence[Step]) -> None:
    """Write summary.txt and per_step_metrics.csv into the folder of the checkpoint."""
    tokens, seconds = sum(step.tokens for step in steps), sum(step.seconds for step in steps)
    lines = [
        f"Number of epochs: {summary.epochs}",
        f"Per worker batch size: {summary.batch_per_worker}",
        f"Total tokens seen: {tokens}",
        f"Tokens per second: {tokens / seconds:.2f}",
        f"Average time per step: {seconds / len(steps):.4f}s",
        f"Simulated RDU time per step: {summary.simulated_us_per_step / 1e6:.6f}s",
        f"Model params: {summary.parameters}",
    ]
    if summary.evaluation_loss is not None:
        lines.append(f"Evaluation loss: {summary.evaluation_loss:.4f}")
    write_bytes(folder / "summary.txt", ("\n".join(lines) + "\n").encode())
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["Tokens in Step", "Step Loss", "Learning Rate", "Time per Step"])
    writer.writerows([step.tokens, f"{step.loss:.6f}", step.learning_rate, f"{step.seconds:.4f}"] for step in steps)
    write_bytes(folder / "per_step_metrics.csv", table.getvalue().encode())


@dataclass(frozen=True)
class Latencies:
    """Host seconds of each token of a run, the first one with its prompt, and simulated microseconds on the RDU."""

    seconds: Sequence[float]
    rows: int
    simulated_prefill_us: float
    simulated_decode_us: float

    def text(self) -> str:
        """As summary.txt has it."""
        first, rest = self.seconds[0], self.seconds[1:]
        later = f"{np.mean(rest):.4f}s" if rest else "none"
        rate = f"{self.rows / float(np.mean(rest)):.4f}" if rest else "none"
        total = sum(self.seconds)
        return "\n".join(
            [
                "latencies",
                f"    time to first token {first:.4f}s",
                f"    tokens, excluding first token {later}",
                f"    tokens, overall {np.mean(self.seconds):.4f}s",
                f"    Total Latency {total:.4f}s",
                "throughputs",
                f"    tokens/second excluding first token {rate}",
                f"    tokens/second overall {self.rows * len(self.seconds) / total:.4f}",
                "simulated RDU time",
                f"    prompt {self.simulated_prefill_us / 1e6:.6f}s",
                f"    each following token {self.simulated_decode_us / 1e6:.6f}s",
                "",
            ]
        )


def write_generation(folder: Path, latencies: Latencies) -> Path:
    """Write text_gen_telemetry/summary.txt under `folder`."""
    path = folder / "text_gen_telemetry" / "summary.txt"
    write_bytes(path, latencies.text().encode())
    return path
