"""PMU ports: how many cycles per firing the memories need to send and take what a phase asks of them.

A reader uses one read port of each PMU of its buffer, so a single operand takes `pef.cycles.port_cycles`; all readers
of a PMU together share its read ports, all writers its write ports, whichever of its buffers they use. Between two
events of a user that has E of them, another that has F is counted min(1, F / E) times, as on links. Whole transfers
happen outside the steady state and do not count in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from pef.cycles import operand_bytes, port_cycles, result_bytes
from pef.decoded import Configuration, Port, Stage
from pef.machine import Machine


@dataclass(frozen=True, slots=True)
class _User:
    """Somebody who moves bytes through ports of every PMU of a buffer: `share` of each, at every one of its events."""

    share: Fraction
    events: int


@dataclass(slots=True)
class _Side:
    """The users of one kind of port. PMUs of one buffer mostly have the same ones, so what a PMU sees is worked out
    once for each set of users."""

    users: list[_User] = field(default_factory=list)
    at: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Who uses each PMU, by their numbers, ascending."""
    _seen: dict[tuple[tuple[int, ...], int], Fraction] = field(default_factory=dict)

    def add(self, units: Sequence[int], user: _User) -> None:
        """One more user of these PMUs."""
        number = len(self.users)
        self.users.append(user)
        self._seen.clear()
        for unit in units:
            self.at[unit] = (*self.at.get(unit, ()), number)

    def seen(self, unit: int, events: int) -> Fraction:
        """`events` times the bytes that a user with so many events sees at each of them."""
        users = self.at.get(unit, ())
        key = users, events
        found = self._seen.get(key)
        if found is None:
            parts = (self.users[number] for number in users)
            found = self._seen[key] = sum((user.share * min(events, user.events) for user in parts), Fraction(0))
        return found

    def most(self, units: Sequence[int], events: int) -> Fraction:
        """The same of that PMU of which it is most."""
        distinct = {self.at.get(unit, ()): unit for unit in units}
        return max((self.seen(unit, events) for unit in distinct.values()), default=Fraction(0))

    def total(self, unit: int) -> Fraction:
        """The bytes of the whole phase."""
        return sum((self.users[n].share * self.users[n].events for n in self.at.get(unit, ())), Fraction(0))


@dataclass(slots=True)
class PortLoad:
    """What passes the ports of each PMU in one phase."""

    machine: Machine
    read: _Side = field(default_factory=_Side)
    write: _Side = field(default_factory=_Side)

    def add(self, units: Sequence[int], sent_bytes: int, events: int, write: bool) -> None:
        """Spread `sent_bytes` per event evenly over the PMUs `units`."""
        (self.write if write else self.read).add(units, _User(Fraction(sent_bytes, len(units)), events))

    def cycles(self, units: Sequence[int], sent_bytes: int, events: int, write: bool) -> int:
        """Cycles per event of a user of the PMUs `units` that moves `sent_bytes`, others of the phase included."""
        machine = self.machine
        side, ports = (self.write, machine.pmu_write_ports) if write else (self.read, machine.pmu_read_ports)
        width = ports * machine.pmu_port_bytes_per_cycle * events
        most = side.most(units, events)
        return max(-(-most.numerator // (most.denominator * width)), port_cycles(sent_bytes, len(units), machine))

    def busy_cycles(self, unit: int) -> float:
        """Cycles of the phase in which the PMU moves data, reading and writing at once where it does both."""
        width = self.machine.pmu_port_bytes_per_cycle
        reading = self.read.total(unit) / (self.machine.pmu_read_ports * width)
        writing = self.write.total(unit) / (self.machine.pmu_write_ports * width)
        return float(max(reading, writing))


def input_bytes(stage: Stage, port: Port, machine: Machine) -> int:
    """Bytes per firing that a buffer sends a stage through one input port, repetitions included."""
    side = stage.product_side(port)
    return operand_bytes(stage.work, stage.parallelism, machine, stage.body.values[port.value].type, side)


def output_bytes(stage: Stage, port: Port) -> int:
    """Bytes per firing that a stage sends a buffer through one output port."""
    return result_bytes(stage.work, stage.parallelism, stage.body.values[port.value].type)


def phase_ports(configuration: Configuration, index: int) -> PortLoad:
    """The load of every PMU in the steady state of a phase."""
    phase, buffers, machine = configuration.phases[index], configuration.buffers, configuration.machine
    load = PortLoad(machine)
    for stage in phase.stages:
        for port in stage.inputs:
            load.add(buffers[port.buffer].units, input_bytes(stage, port, machine), stage.events, write=False)
        for port in stage.outputs:
            load.add(buffers[port.buffer].units, output_bytes(stage, port), stage.events, write=True)
    for stream in phase.streams:
        if not stream.is_whole:
            sent, events = configuration.slice_bytes(index, stream), configuration.transfers(index, stream)
            load.add(buffers[stream.buffer].units, sent, events, write=not stream.store)
            if stream.pick is not None:
                guide = buffers[stream.record.index.buffer]
                sent = phase.nest.sliced(guide.type, stream.index_slicing).nbytes
                load.add(guide.units, sent, events, write=False)
    return load
