"""Training: steps over shuffled batches, with checkpoints that continue exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ir.errors import Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from ir.op import Array
from pef.codec import section_kinds
from runtime.files.data import DataSet
from runtime.session import Session


@dataclass(frozen=True)
class Training:
    """What to train on and how; the order of samples follows from the seed and the epoch alone."""

    session: Session
    data: DataSet
    seed: int = 0
    hyper: dict[str, float] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data; a rest that fills no batch is left out of an epoch."""
        return max(1, self.data.samples // self.data.batch)

    def run(self, first: int, last: int) -> Iterator[tuple[int, float]]:
        """Run steps `first` up to but not including `last`; yields each step's number and loss."""
        loss = loss_name(self.session)
        step = first
        while step < last:
            epoch, skipped = divmod(step, self.steps_per_epoch)
            for position, (batch, _) in enumerate(self.data.batches(self._order(epoch))):
                if position < skipped:
                    continue
                if step >= last or position == self.steps_per_epoch:
                    break
                outputs = self.session.run(inputs=batch, hyper=self.hyper)
                yield step, float(np.mean(outputs[loss]))
                step += 1

    def _order(self, epoch: int) -> Array:
        return np.random.default_rng((self.seed, epoch)).permutation(self.data.samples)


def require_training(session: Session) -> None:
    """Raises UsageError where the PEF holds no backward or no update sections."""
    kinds = section_kinds(session.pef)
    has = {
        SectionKind.BCKWD: any(kind.back_propagates for kind in kinds),
        SectionKind.OPT: any(kind.updates for kind in kinds),
    }
    missing = [kind.value for kind, there in has.items() if not there]
    if missing:
        raise UsageError(
            Problem(f"the PEF cannot train: it has no {' and no '.join(missing)} section", hint="compile for training")
        )


def loss_name(session: Session) -> str:
    """The output that is the loss: the first of one element, else the first named so, else the first."""
    outputs = session.names(SymbolKind.OUTPUT)
    if not outputs:
        raise UsageError(Problem("the PEF has no output to take a loss from", hint="return the loss from the model"))
    single = [name for name in outputs if session.symbols[name].type.numel == 1]
    named = [name for name in outputs if "loss" in name.lower()]
    return [*single, *named, *outputs][0]
