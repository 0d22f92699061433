"""One replica's part in data parallel runs of a loaded PEF: the same weights at the start, averaged gradients after."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from ir.errors import Problem, ReplicaError
from ir.graph import SectionKind
from runtime.session import CHECKPOINTED, require_replicas
from sambaflow.samba._device.device import Device
from sambaflow.samba._replicas import distributed
from sambaflow.samba._replicas.distributed import Group

_UPDATES = (SectionKind.GRADNORM.value, SectionKind.OPT.value)
FORWARD, BACKWARD, REDUCE = SectionKind.FWD.value, SectionKind.BCKWD.value, SectionKind.REDUCE.value


class Replica:
    """Keeps the device's parameters those of the other replicas."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._group: Group | None = None
        self._is_averaged = False
        self._updates_on_device = SectionKind.OPT.value in device.kinds

    @property
    def has_joined(self) -> bool:
        """Whether this replica has met the others."""
        return self._group is not None

    def join(self) -> Group:
        """The replicas. The first time, all must run one PEF, and take the weights and states of rank 0.

        Raises ReplicaError where the PEF is not data parallel, was compiled for more replicas, or is another one.
        """
        if self._group is None:
            group = distributed.group()
            require_replicas(self.device.pef, group.size)
            if group.size > 1:
                self._agree(group)
            self._group = group
        return self._group

    def _agree(self, group: Group) -> None:
        """Take the weights and states of rank 0."""
        self._require_one_pef(group)
        for name in self.device.runtime.names(*CHECKPOINTED):
            group.broadcast(self.device.memory(name))

    def _require_one_pef(self, group: Group) -> None:
        digests = group.gather(hashlib.sha256(self.device.pef.SerializeToString(deterministic=True)).hexdigest())
        others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            ranks = ", ".join(map(str, others))
            hint = "give all replicas the same --pef"
            raise ReplicaError(Problem(f"not all replicas run the PEF of rank 0: rank {ranks} runs another", hint=hint))

    def require_one_update(self, sections: Sequence[int]) -> None:
        """Raises ReplicaError where replicas would update their parameters with different hyper-parameters.

        All replicas call this for the same runs: it compares the numbers that these sections' update reads.
        """
        group = self.join()
        updating = [n for n in sections if self.device.pef.sections[n].kind in _UPDATES]
        names = [name for name in self.device.runtime.needed(updating) if name in self.device.hyper]
        if group.size == 1 or not names:
            return
        own = torch.stack([self.device.memory(name).reshape(()).double() for name in names])
        both = torch.cat([own, -own])
        group.largest(both)
        differing = [name for name, high, low in zip(names, *both.chunk(2)) if high != -low]
        if not differing:
            return
        values = group.gather(", ".join(f"{name} {float(self.device.memory(name)):g}" for name in differing))
        told = "; ".join(f"rank {rank} has {text}" for rank, text in enumerate(values))
        hint = "give every replica the same hyper-parameters: their parameters would no longer be the same"
        raise ReplicaError(Problem(f"the replicas update with different numbers: {told}", hint=hint))

    def with_reduction(self, section_types: Sequence[str] | None) -> Sequence[str] | None:
        """The sections of a data parallel run: gradients not averaged yet are so before anything uses them.

        The host may use them right after back-propagation where the device does not update the parameters.
        """
        if section_types is None:
            return None
        kinds = [kind.upper() for kind in section_types]
        is_fresh = BACKWARD in kinds or not self._is_averaged
        is_used = any(kind not in (FORWARD, BACKWARD) for kind in kinds)
        is_used |= BACKWARD in kinds and not self._updates_on_device
        return [*kinds, REDUCE] if is_fresh and is_used and REDUCE not in kinds else kinds

    def ran(self, kinds: frozenset[str]) -> None:
        """Note which sections have run."""
        if REDUCE in kinds:
            self._is_averaged = True
        elif BACKWARD in kinds:
            self._is_averaged = False
