"""What averaging over replicas costs: the one place where these formulas stand.

With n replicas, each of which holds b bytes per firing, between RDUs in a ring (reduce-scatter, then all-gather)

    bytes each RDU sends     2 (n - 1) / n * b     at ring_bytes_per_s
    steps around the ring    2 (n - 1)             of ring_step_us each, once: a phase's tiles follow close behind

and on the host: b bytes to the host and b bytes back, one after the other, at host_bytes_per_s. What the host does
with them, and traffic between hosts, is not counted. All exchanges of a phase share the link.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pef.cycles import TileOperation
from pef.machine import Machine


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas there are, and whether they average over the links between RDUs or on the host."""

    count: int = 1
    on_rdu: bool = True


ONE = Replicas()


def exchanged_bytes(operations: Iterable[TileOperation]) -> int:
    """Bytes per firing that a stage of these operations averages over the replicas."""
    return sum(tensor.nbytes for operation in operations if operation.op.exchanges for tensor in operation.results)


def exchange_cycles(nbytes: float, replicas: Replicas, machine: Machine) -> int:
    """Cycles that the link needs to average `nbytes`."""
    if replicas.count == 1:
        return 0
    if not replicas.on_rdu:
        return math.ceil(2 * nbytes / machine.bytes_per_cycle(machine.host_bytes_per_s)) if nbytes else 0
    sent = 2 * (replicas.count - 1) * nbytes / replicas.count
    return math.ceil(sent / machine.bytes_per_cycle(machine.ring_bytes_per_s)) if nbytes else 0


def exchange_latency_cycles(replicas: Replicas, machine: Machine) -> int:
    """Cycles from the last byte leaving to the mean being there, beside what the bytes take."""
    if replicas.count == 1 or not replicas.on_rdu:
        return 0
    return math.ceil(machine.cycles(2 * (replicas.count - 1) * machine.ring_step_us))
