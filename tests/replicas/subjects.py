"""A small classifier compiled for replicas, and replicas that are threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from compiler.data_parallel import with_reduction
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from compiler.passes.precision import round_values
from ir.graph import SymbolKind
from ir.op import Array
from pef.check import check
from runtime.session import Session
from tests.models.toolchain import Compiled

FEATURES, HIDDEN, CLASSES = 16, 40, 5


class Classifier(nn.Module):
    """Two layers and the mean cross entropy; the first matrix is large enough to be cut into tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURES, HIDDEN)
        self.scores = nn.Linear(HIDDEN, CLASSES)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.scores(torch.tanh(self.hidden(image))), label)


def spec(batch: int) -> ModelSpec:
    """The classifier with AdamW and clipping, the same parameters every time."""
    torch.manual_seed(3)
    model = Classifier()
    inputs = {"image": torch.zeros(batch, FEATURES), "label": torch.zeros(batch, dtype=torch.int64)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    return ModelSpec(model, inputs, optimizer=optimizer, max_grad_norm=0.5, name="classifier")


def compiled_for(replicas: int, batch: int, preset: str = "mp0", fuse: bool = True) -> Compiled:
    """The classifier for a batch of each replica; 0 replicas: not data parallel."""
    captured = capture(spec(batch), inference=False)
    written = with_reduction(captured.program) if replicas else captured.program
    program = PassManager(standard_pipeline(preset)).run(written)
    pef = compile_program(program, load_machine("sn30"), BackendOptions(fuse=fuse, replicas=replicas))
    decoded = check(pef)
    values = round_values(program, captured.values)
    known = {symbol.name for symbol in program.symbols}
    return Compiled(program, decoded, {name: value for name, value in values.items() if name in known})


def samples(count: int) -> dict[str, Array]:
    """Images and labels."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, count, dtype=np.int32)
    return {"image": rng.standard_normal((count, FEATURES), dtype=np.float32), "label": label}


@dataclass
class Meeting:
    """Where threads add up their arrays."""

    size: int
    arrays: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=60)


@dataclass(frozen=True)
class Thread:
    """A thread as a replica (`runtime.collective.Collective`); `sizes` are those of the arrays it exchanged."""

    rank: int
    meeting: Meeting
    sizes: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.meeting.size

    def all_reduce(self, array: Array) -> None:
        assert array.flags.c_contiguous and array.dtype == np.float32
        self.sizes.append(array.size)
        self.meeting.arrays[self.rank] = array.copy()
        self.meeting.barrier.wait()
        np.copyto(array, sum(self.meeting.arrays[rank] for rank in range(self.size)))
        self.meeting.barrier.wait()


def run_replicas(size: int, work: Callable[[Thread], None]) -> list[Thread]:
    """Let `size` replicas work at the same time."""
    meeting = Meeting(size)
    replicas = [Thread(rank, meeting) for rank in range(size)]
    with ThreadPoolExecutor(size) as pool:
        list(pool.map(work, replicas))
    return replicas


def states(session: Session) -> Mapping[str, Array]:
    """All that training changes."""
    return {name: session.read(name) for name in session.names(SymbolKind.PARAMETER, SymbolKind.STATE)}


__all__ = ["Classifier", "Thread", "compiled_for", "run_replicas", "samples", "spec", "states"]
