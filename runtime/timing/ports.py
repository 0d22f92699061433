"""PMU ports: how many cycles per tile the memories need to send and take what a phase asks of them.

A reader uses one read port of each PMU of its buffer, so a single operand takes `pef.cycles.port_cycles`; all readers
of a PMU together share its read ports, all writers its write ports, whichever of its buffers they use. Whole
transfers happen outside the steady state and do not count in it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from pef import pef_pb2 as pb
from pef.codec import product_side
from pef.cycles import Parallelism, StageWork, operand_bytes, port_cycles
from pef.machine import Machine
from runtime.timing.shapes import tile_type, transfer_bytes


@dataclass(slots=True)
class PortLoad:
    """Bytes per tile through the ports of each PMU in one phase, by index of the unit."""

    machine: Machine
    read: dict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    write: dict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def add(self, units: Sequence[int], sent_bytes: int, write: bool) -> None:
        """Spread `sent_bytes` per tile evenly over the PMUs `units`."""
        load = self.write if write else self.read
        for unit in units:
            load[unit] += Fraction(sent_bytes, len(units))

    def cycles(self, units: Sequence[int], sent_bytes: int, write: bool) -> int:
        """Cycles per tile for one user of the PMUs `units` that moves `sent_bytes`, others of the phase included."""
        machine = self.machine
        load, ports = (self.write, machine.pmu_write_ports) if write else (self.read, machine.pmu_read_ports)
        width = ports * machine.pmu_port_bytes_per_cycle
        shared = max((math.ceil(load[unit] / width) for unit in units), default=0)
        return max(shared, port_cycles(sent_bytes, len(units), self.machine))

    def busy_cycles(self, unit: int) -> float:
        """Cycles per tile in which the PMU moves data, reading and writing at once where it does both."""
        width = self.machine.pmu_port_bytes_per_cycle
        reading = self.read[unit] / (self.machine.pmu_read_ports * width)
        writing = self.write[unit] / (self.machine.pmu_write_ports * width)
        return float(max(reading, writing))


def input_bytes(stage: pb.Stage, port: pb.Port, work: StageWork, parallel: Parallelism, machine: Machine) -> int:
    """Bytes per tile that a buffer sends a stage through one input port, repetitions included."""
    tensor = tile_type(stage, port.value)
    return operand_bytes(work, parallel, machine, tensor, product_side(stage, port))


def output_bytes(stage: pb.Stage, port: pb.Port) -> int:
    """Bytes per tile that a stage sends a buffer through one output port."""
    return tile_type(stage, port.value).nbytes


def phase_ports(
    configuration: pb.Configuration,
    phase: pb.Phase,
    works: Sequence[tuple[StageWork, Parallelism]],
    machine: Machine,
) -> PortLoad:
    """The load of every PMU in the steady state of `phase`; `works` has one entry per stage."""
    load = PortLoad(machine)
    for stage, (work, parallel) in zip(phase.stages, works):
        for port in stage.inputs:
            units = configuration.buffers[port.buffer].units
            load.add(units, input_bytes(stage, port, work, parallel, machine), write=False)
        for port in stage.outputs:
            load.add(configuration.buffers[port.buffer].units, output_bytes(stage, port), write=True)
    for stream in phase.streams:
        if stream.axis >= 0:
            sent = transfer_bytes(configuration, phase, stream)
            load.add(configuration.buffers[stream.buffer].units, sent, write=not stream.store)
    return load
