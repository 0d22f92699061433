"""The tiny configuration of a model from nothing to a stated quality, on the simulated RDU and in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from compiler.driver import CompileRequest, compile_spec
from ir.op import Array
from modelzoo.combination import MACHINE
from modelzoo.device import open_pef
from modelzoo.entry import Arrays, Entry
from modelzoo.training import (
    Compile,
    Step,
    batches,
    quality_in_pytorch,
    quality_of_weights,
    quality_on_device,
    train_in_pytorch,
    train_on_device,
)
from runtime.snrun.compare import Verdict

PROMISE = 1e-4
"""Losses of device and PyTorch are closer than this at every step, but where float32 itself is not."""

OTHER_SEEDS = (1, 2, 3)
"""A recipe is tuned on seed 0; these say what it is worth."""


@dataclass(frozen=True)
class Trial:
    """What came of it.

    largest_difference: of any step's loss from PyTorch's, relative where losses exceed one. Where that is more than
    promised, device_from_float64 and pytorch_from_float64 are the same from PyTorch's run in float64: a device about as
    close to it as PyTorch computes right, and rounding decides where training goes. host_seconds: processor time.
    """

    steps: int
    first_loss: float
    last_loss: float
    quality: float
    quality_in_pytorch: float
    reached: bool
    largest_difference: float
    host_seconds: float
    device_from_float64: float | None = None
    pytorch_from_float64: float | None = None

    @property
    def verdict(self) -> Verdict | None:
        """What float64 says of a difference; None where there is none to judge."""
        if self.device_from_float64 is None or self.pytorch_from_float64 is None:
            return None
        return Verdict(self.device_from_float64, self.pytorch_from_float64)

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
    compile: Compile = compile_spec,
) -> Trial:
    """Train the tiny configuration; `said` hears of every step. The PEFs go to `folder`."""
    began = time.process_time()
    size = entry.size("tiny")
    samples, rounds = batch or size.batch, epochs or entry.recipe.epochs
    train, test = entry.recipe.data(0)
    spec = entry.spec("tiny", training=True, batch=samples, length=length)
    result = compile(spec, CompileRequest(entry.name, False, samples, folder, arch=arch))
    session = open_pef(result.pef_path)
    losses = []
    for step in train_on_device(session, _batches(train, samples, rounds)):
        said(step)
        losses.append(step.loss)
    quality = quality_on_device(entry, session, test, folder, batch=samples, length=length, arch=arch, compile=compile)
    seconds = time.process_time() - began
    twin, _ = train_in_pytorch(spec, _batches(train, samples, rounds))
    evaluated = entry.spec("tiny", training=False, batch=samples, length=length)
    trial = Trial(
        steps=len(losses),
        first_loss=losses[0],
        last_loss=losses[-1],
        quality=quality,
        quality_in_pytorch=quality_of_weights(entry, evaluated, session, test),
        reached=entry.recipe.quality.reached(quality),
        largest_difference=_apart(losses, twin),
        host_seconds=round(seconds, 1),
    )
    if trial.largest_difference < PROMISE:
        return trial
    exact, _ = train_in_pytorch(spec, _batches(train, samples, rounds), precise=True)
    return replace(trial, device_from_float64=_apart(losses, exact), pytorch_from_float64=_apart(twin, exact))


def quality_from_seed(entry: Entry, seed: int) -> float:
    """The quality that PyTorch reaches with the recipe from another seed: of data, of weights, and of the order."""
    train, test = entry.recipe.data(seed)
    spec = entry.spec("tiny", training=True, seed=seed)
    _, model = train_in_pytorch(spec, _batches(train, entry.size("tiny").batch, entry.recipe.epochs, seed))
    return quality_in_pytorch(entry, entry.spec("tiny", training=False), model, test)


def _batches(train: Arrays, batch: int, epochs: int, seed: int = 0) -> Iterator[dict[str, Array]]:
    return batches(train, batch, epochs, seed + 1)


def _apart(losses: Sequence[float], others: Sequence[float]) -> float:
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(losses, others, strict=True))
