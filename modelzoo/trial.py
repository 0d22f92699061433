"""The tiny configuration of a model from nothing to a stated quality, on the simulated RDU and in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compiler.driver import CompileRequest, compile_spec
from modelzoo.combination import MACHINE
from modelzoo.device import open_pef
from modelzoo.entry import Entry
from modelzoo.training import (
    Step,
    batches,
    quality_in_pytorch,
    quality_on_device,
    train_in_pytorch,
    train_on_device,
)

ORDER_SEED = 1
"""Of the order of samples."""


@dataclass(frozen=True)
class Trial:
    """What came of it. largest_difference: of any step's loss from PyTorch's, relative where losses exceed one."""

    steps: int
    first_loss: float
    last_loss: float
    quality: float
    quality_in_pytorch: float
    reached: bool
    largest_difference: float
    host_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def try_tiny(
    entry: Entry,
    folder: Path,
    *,
    arch: str = MACHINE,
    batch: int | None = None,
    length: int | None = None,
    epochs: int | None = None,
    said: Callable[[Step], None] = lambda step: None,
) -> Trial:
    """Train the tiny configuration; `said` hears of every step. The PEFs go to `folder`."""
    began = time.perf_counter()
    size = entry.size("tiny")
    samples, rounds = batch or size.batch, epochs or entry.recipe.epochs
    train, test = entry.recipe.data(0)
    spec = entry.spec("tiny", training=True, batch=samples, length=length)
    result = compile_spec(spec, CompileRequest(entry.name, False, samples, folder, arch=arch))
    session = open_pef(result.pef_path)
    losses = []
    for step in train_on_device(session, batches(train, samples, rounds, ORDER_SEED)):
        said(step)
        losses.append(step.loss)
    quality = quality_on_device(entry, session, test, folder, batch=samples, length=length, arch=arch)
    seconds = time.perf_counter() - began
    twin = [step.loss for step in train_in_pytorch(spec, batches(train, samples, rounds, ORDER_SEED))]
    evaluated = entry.spec("tiny", training=False, batch=samples, length=length)
    return Trial(
        steps=len(losses),
        first_loss=losses[0],
        last_loss=losses[-1],
        quality=quality,
        quality_in_pytorch=quality_in_pytorch(entry, evaluated, session, test),
        reached=entry.recipe.quality.reached(quality),
        largest_difference=max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(losses, twin, strict=True)),
        host_seconds=round(seconds, 1),
    )
