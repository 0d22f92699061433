"""Training as one of several replicas: same weights at the start, averaged gradients at every step, one checkpoint."""

from __future__ import annotations

import hashlib

import torch

from ir.errors import Problem, ReplicaError
from modelzoo.runners.language_training import Trainer, finish, open_training, read_data
from modelzoo.runners.schema import TrainingApplication
from runtime.session import CHECKPOINTED, Session, require_replicas
from sambaflow.samba._replicas import distributed
from sambaflow.samba._replicas.distributed import Group


def train_together(settings: TrainingApplication) -> None:
    """Join the processes that mpirun or torchrun started, and train with them; rank 0 writes.

    Raises ReplicaError for replicas that do not fit together.
    """
    distributed.start()
    group = distributed.group()
    session, config = open_training(settings)
    require_replicas(session.pef, group.size)
    _agree(group, session)
    trainer = Trainer(settings, session, read_data(settings, "train", group.rank, group.size), group)
    steps = min(map(int, group.gather(str(trainer.steps_per_epoch))))
    if steps == 0:
        hint = "give more data, or compile for a smaller batch"
        raise ReplicaError(Problem(f"a replica has too few sequences for a batch of {trainer.batch}", hint=hint))
    for line in trainer.run(steps):
        if group.rank == 0:
            print(line, flush=True)
    if group.rank == 0:
        finish(trainer, config)
    group.gather("written")


def _agree(group: Group, session: Session) -> None:
    """All replicas run one PEF, and start from the weights of rank 0."""
    digest = hashlib.sha256(session.pef.SerializeToString(deterministic=True)).hexdigest()
    if len(set(group.gather(digest))) > 1:
        raise ReplicaError(Problem("not all replicas run the same PEF", hint="give all the same samba_run.pef"))
    for name in session.names(*CHECKPOINTED):
        raw = session.raw(name)
        group.broadcast(torch.from_numpy(raw.view("int16") if raw.dtype == "uint16" else raw))
