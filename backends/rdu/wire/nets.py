"""Nets: which unit sends what to which, once stages have PCUs and buffers have PMUs.

The row slices of a product's left operand each go to a row of its PCUs, the column slices of its right operand each
to a column: one multicast net per slice and PMU that holds it. Other operands are dealt to the PCUs side by side;
those that every PCU needs whole are broadcast. Results go from each PCU to its share of the PMUs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backends.rdu.allocate.buffers import Layout, PhaseLayout, Port, Stream
from backends.rdu.stream.nests import NestedStage
from backends.rdu.wire.netlist import Net, Netlist, Terminal, Unit
from pef import pef_pb2 as pb
from pef.cycles import Parallelism, operand_bytes, partial_sums
from pef.machine import Machine, SiteKind

SHARED_BYTES = 4096
"""Buffers loaded whole up to this size share a PMU."""

SHARERS = 16
"""Buffers that one shared PMU holds at most: their loads and reads share its ports."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A net with its place in the PEF: which port or stream of which phase it serves, and its bytes per tile."""

    kind: pb.Net.Kind
    phase: int
    owner: int
    port: int
    source: Terminal
    sinks: tuple[Terminal, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Wiring:
    """Units of a section and their nets: `pcus[phase][stage]` and `pmus[buffer]` are indices of units, `agcus[phase]
    [stream]` numbers of AGCUs."""

    units: tuple[Unit, ...]
    pcus: tuple[tuple[tuple[int, ...], ...], ...]
    pmus: tuple[tuple[int, ...], ...]
    agcus: tuple[tuple[tuple[int, ...], ...], ...]
    connections: tuple[Connection, ...]
    netlist: Netlist


@dataclass(slots=True)
class _SharedPmu:
    """A PMU that several buffers share: its unit, and how many buffers of how many bytes it holds so far."""

    unit: int
    buffers: int
    bytes: int

    def has_room(self, nbytes: int, machine: Machine) -> bool:
        """Whether one more buffer may join."""
        return self.buffers < SHARERS and self.bytes + nbytes <= machine.pmu_bytes


def number_units(layout: Layout, machine: Machine) -> Wiring:
    """Number the units of a section and choose AGCUs for its streams; nothing is connected, nor has a unit a name."""
    count = itertools.count()
    pcus = tuple(
        tuple(tuple(itertools.islice(count, option.units)) for option in phase.phase.options) for phase in layout.phases
    )
    return Wiring((), pcus, _number_pmus(layout, count, machine), _choose_agcus(layout, machine), (), Netlist((), ()))


def wire(layout: Layout, machine: Machine) -> Wiring:
    """Number the units of a section, choose AGCUs for its streams, and connect everything."""
    numbered = number_units(layout, machine)
    pcus, pmus, agcus = numbered.pcus, numbered.pmus, numbered.agcus
    units = _units(layout, pmus)
    connections: list[Connection] = []
    for index, phase in enumerate(layout.phases):
        for position in range(len(phase.phase.stages)):
            connections += _stage_nets(phase, index, position, pcus[index][position], pmus, machine)
        connections += _stream_nets(layout, index, pmus, agcus[index])
    nets = tuple(_net(connection, layout, machine) for connection in connections)
    return Wiring(units, pcus, pmus, agcus, tuple(connections), Netlist(units, nets))


def _units(layout: Layout, pmus: Sequence[Sequence[int]]) -> tuple[Unit, ...]:
    """Every unit in the order of its number: the PCUs of each stage, then the PMUs that each buffer is the first in."""
    units: list[Unit] = []
    stages = ((s, o) for phase in layout.phases for s, o in zip(phase.phase.stages, phase.phase.options))
    for group, (stage, option) in enumerate(stages):
        name = stage.stage.name
        units += [Unit(f"{name}[{i}]", SiteKind.PCU, group) for i in range(option.units)]
    first: dict[int, Unit] = {}
    for index in _by_first_phase(layout):
        for position, number in enumerate(pmus[index]):
            name = f"{layout.buffers[index].name}[{position}]"
            first.setdefault(number, Unit(name, SiteKind.PMU, -1 - index))
    return (*units, *(first[number] for number in sorted(first)))


def _by_first_phase(layout: Layout) -> list[int]:
    """The buffers in the order in which they begin to live."""
    return sorted(range(len(layout.buffers)), key=lambda index: layout.buffers[index].first)


def _number_pmus(layout: Layout, count: Iterator[int], machine: Machine) -> tuple[tuple[int, ...], ...]:
    lifetimes = layout.lifetimes()
    streams = [stream for phase in layout.phases for stream in phase.streams]
    loaded = {stream.buffer for stream in streams if stream.store is None}
    stored = {stream.buffer for stream in streams if stream.store is not None}
    pool = _Pool(count, max(*layout.pmus(), len(machine.working_sites(SiteKind.PMU)) * 95 // 100))
    numbered: dict[int, tuple[int, ...]] = {}
    shared: dict[int, _SharedPmu] = {}
    for index in _by_first_phase(layout):
        buffer = layout.buffers[index]
        sharing = shared.get(buffer.first)
        small = index in loaded and buffer.slices == 1 and buffer.pmus == 1 and buffer.bytes <= SHARED_BYTES
        if small and sharing is not None and sharing.has_room(buffer.bytes, machine):
            sharing.buffers += 1
            sharing.bytes += buffer.bytes
            numbered[index] = (sharing.unit,)
        else:
            numbered[index] = pool.take(buffer.pmus, buffer.first, early=index in loaded)
            if small:
                shared[buffer.first] = _SharedPmu(numbered[index][0], 1, buffer.bytes)
        pool.keep(numbered[index], lifetimes[index][-1], stored=index in stored)
    return tuple(numbered[index] for index in range(len(layout.buffers)))


class _Pool:
    """PMUs of a section, `most` at most, which buffers take one after another, in the order of their first phases."""

    def __init__(self, count: Iterator[int], most: int) -> None:
        self._count = count
        self._most = most
        self._last: dict[int, int] = {}
        """The last phase in which each is used."""
        self._stored: set[int] = set()
        """Those that a store may still empty when that phase has ended."""

    def take(self, count: int, first: int, *, early: bool) -> tuple[int, ...]:
        """So many for a buffer that lives from a phase on; `early`, where it is loaded while the phase before runs.

        Those are taken first that can be written without waiting: then new ones, then the others.
        """
        free = [unit for unit, last in self._last.items() if last < first]
        ready = [
            unit for unit in free if unit not in self._stored and self._last[unit] < (first - 1 if early else first)
        ]
        taken = ready[:count]
        fresh = min(count - len(taken), self._most - len(self._last))
        taken += itertools.islice(self._count, fresh)
        if len(taken) < count:
            waiting = sorted(set(free) - set(taken), key=lambda unit: (unit in self._stored, self._last[unit], unit))
            taken += waiting[: count - len(taken)]
        return tuple(taken)

    def keep(self, units: Sequence[int], last: int, *, stored: bool) -> None:
        """Note that a buffer lives in these up to a phase."""
        for unit in units:
            self._last[unit] = max(last, self._last.get(unit, last))
        (self._stored.update if stored else self._stored.difference_update)(units)


def _choose_agcus(layout: Layout, machine: Machine) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """AGCUs for every stream, the least loaded of the phase first: as many as memory can keep busy, so that one may
    use all of it while others wait."""
    memory_rate = machine.tier_bytes_per_cycle(0)
    most = min(len(machine.agcu_sites), math.ceil(memory_rate / machine.agcu_bytes_per_cycle))
    chosen = []
    for index, phase in enumerate(layout.phases):
        load = [0.0] * len(machine.agcu_sites)
        streams = []
        for stream in phase.streams:
            buffer = layout.buffers[stream.buffer]
            rate = min(memory_rate, _stream_bytes(layout, index, stream) / phase.phase.cycles)
            count = min(most, buffer.pmus)
            numbers = sorted(range(len(load)), key=lambda number: (load[number], number))[:count]
            for number in numbers:
                load[number] += rate / count
            streams.append(tuple(sorted(numbers)))
        chosen.append(tuple(streams))
    return tuple(chosen)


def _stage_nets(
    phase: PhaseLayout,
    index: int,
    position: int,
    pcus: Sequence[int],
    pmus: Sequence[Sequence[int]],
    machine: Machine,
) -> Iterator[Connection]:
    stage, parallel = phase.phase.stages[position], phase.phase.options[position].parallel
    lanes = [pcus[i : i + parallel.chain] for i in range(0, len(pcus), parallel.chain)]
    for number, port in enumerate(phase.inputs[position]):
        tile = stage.type(port.value)
        sent = operand_bytes(stage.work, parallel, machine, tile, port.side)
        groups = _reader_groups(stage, port, parallel)
        nets = [
            (_unit(source), tuple(_unit(lanes[lane][0]) for lane in groups[group]))
            for source, group in _deal(pmus[port.buffer], len(groups))
        ]
        for source, sinks in nets:
            share = math.ceil(sent / len(nets))
            yield Connection(pb.Net.READ, index, position, number, source, sinks, share)
    for number, port in enumerate(phase.outputs[position]):
        sums = partial_sums(stage.work, parallel)
        writers = len(lanes) // sums
        pairs = _deal(pmus[port.buffer], writers)
        share = math.ceil(stage.type(port.value).nbytes / len(pairs))
        for first in range(0, len(lanes), writers):
            for pmu, lane in pairs:
                source = _unit(lanes[first + lane][-1])
                yield Connection(pb.Net.WRITE, index, position, number, source, (_unit(pmu),), share)
    share = math.ceil((4 if stage.work.fp32 else 2) * stage.work.elements / len(lanes))
    for lane_units in lanes:
        for before, behind in itertools.pairwise(lane_units):
            yield Connection(pb.Net.CHAIN, index, position, 0, _unit(before), (_unit(behind),), share)


def _reader_groups(stage: NestedStage, port: Port, parallel: Parallelism) -> list[list[int]]:
    """Sets of lanes that read the same part of an operand."""
    batch, row, column = parallel.batch, parallel.row, parallel.column
    lane = {(b, r, c): (b * row + r) * column + c for b in range(batch) for r in range(row) for c in range(column)}
    if port.side == 0:
        return [[lane[b, r, c] for c in range(column)] for b in range(batch) for r in range(row)]
    if port.side == 1:
        return [[lane[b, r, c] for r in range(row)] for b in range(batch) for c in range(column)]
    if stage.numbers[port.value.name] in stage.form.dealt:
        return [[number] for number in lane.values()]
    return [list(lane.values())]


def _deal(units: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """Pairs (unit, part): every unit has a part and every part a unit, as evenly as can be."""
    if len(units) >= parts:
        return [(unit, i * parts // len(units)) for i, unit in enumerate(units)]
    return [(units[part * len(units) // parts], part) for part in range(parts)]


def _stream_nets(
    layout: Layout, index: int, pmus: Sequence[Sequence[int]], agcus: Sequence[Sequence[int]]
) -> Iterator[Connection]:
    for number, stream in enumerate(layout.phases[index].streams):
        buffer = layout.buffers[stream.buffer]
        units = pmus[stream.buffer]
        total = layout.phases[index].nest.sliced(buffer.type, stream.slicing).nbytes
        share = math.ceil(total / len(units))
        for position, unit in enumerate(units):
            agcu = Terminal(agcus[number][position % len(agcus[number])], is_agcu=True)
            if stream.store is None:
                yield Connection(pb.Net.LOAD, index, number, 0, agcu, (_unit(unit),), share)
            else:
                yield Connection(pb.Net.STORE, index, number, 0, _unit(unit), (agcu,), share)
        if stream.pick is not None:
            size = layout.phases[index].nest.sliced(stream.pick.index_type, stream.index_slicing).nbytes
            guided = tuple(Terminal(agcu, is_agcu=True) for agcu in agcus[number])
            for unit in pmus[stream.index]:
                share = math.ceil(size / len(pmus[stream.index]))
                yield Connection(pb.Net.INDEX, index, number, 0, _unit(unit), guided, share)


def _net(connection: Connection, layout: Layout, machine: Machine) -> Net:
    """The net as placement and routing see it. Whole transfers happen before or after the tiles of their phase, so
    their links are negotiated apart from those of the tiles, at the rate of memory."""
    source, sinks, index = connection.source, connection.sinks, connection.phase
    layout_phase, memory_rate = layout.phases[index], machine.tier_bytes_per_cycle(0)
    phase = layout_phase.phase
    if connection.kind not in (pb.Net.LOAD, pb.Net.STORE, pb.Net.INDEX):
        interval = phase.interval(phase.phase.events(phase.stages[connection.owner]))
        pace = phase.options[connection.owner].cycles / interval
        return Net(source, sinks, index, connection.bytes / interval, min(1.0, pace))
    stream = layout_phase.streams[connection.owner]
    total = layout.buffers[stream.buffer].type.nbytes
    if not stream.slicing:
        rate = min(memory_rate * connection.bytes / max(1, total), machine.agcu_bytes_per_cycle)
        return Net(source, sinks, len(layout.phases) * (1 if stream.store is None else 2) + index, rate)
    moved = _stream_bytes(layout, index, stream)
    interval = phase.interval(layout.transfers(index, stream))
    return Net(source, sinks, index, connection.bytes / interval, min(1.0, moved / memory_rate / phase.cycles))


def _stream_bytes(layout: Layout, index: int, stream: Stream) -> int:
    """Bytes that a stream moves in one run of its phase."""
    size = layout.phases[index].nest.sliced(layout.buffers[stream.buffer].type, stream.slicing).nbytes
    return size * layout.transfers(index, stream)


def _unit(number: int) -> Terminal:
    return Terminal(number)
