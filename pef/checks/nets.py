"""Rules about nets: they join what they say, everything that must be joined is, and routes lead there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ir.errors import Problem
from pef import pef_pb2 as pb
from pef.checks.stages import work_of
from pef.cycles import operand_bytes, result_bytes
from pef.decoded import Configuration, Stage, Stream

Ends = tuple[str, frozenset[int]]
"""What may stand at one end of a net: units or AGCUs, by number."""


@dataclass
class Wiring:
    """What the nets of a configuration join, by (phase, stage, port), (phase, stage) and (phase, stream)."""

    readers: dict[tuple[int, int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    writers: dict[tuple[int, int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    links: dict[tuple[int, int], set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    pmus: dict[tuple[int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    agcus: dict[tuple[int, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    read_bytes: dict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    written_bytes: dict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    stream_bytes: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    guides: dict[tuple[int, int], set[tuple[int, int]]] = field(default_factory=lambda: defaultdict(set))
    index_bytes: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    sending: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    taking: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))


def net_problems(configuration: Configuration) -> Iterator[Problem]:
    """Every rule of this file."""
    wiring = Wiring()
    for number, net in enumerate(configuration.record.nets):
        where = f"net {number} of {_owner(configuration, net).where}"
        source, sinks = _end(net.source), [_end(sink) for sink in net.sinks]
        yield from terminals_match(configuration, net, source, sinks, where)
        yield from bytes_flow(net, where)
        yield from route_is_a_tree(configuration, net, source, sinks, where)
        _record(configuration, net, source[1], [number for _, number in sinks], wiring)
    for rule in (
        ports_are_wired,
        ports_carry_all,
        chains_are_wired,
        streams_are_wired,
        indices_are_wired,
        buffers_are_wired,
    ):
        yield from rule(configuration, wiring)


def terminals_match(
    configuration: Configuration, net: pb.Net, source: tuple[str, int], sinks: Sequence[tuple[str, int]], where: str
) -> Iterator[Problem]:
    """A net starts and ends at the units and AGCUs of its owner and of the buffer that the owner's port names."""
    (from_kind, starts), (to_kind, ends) = _allowed(configuration, net)
    if source[0] != from_kind or source[1] not in starts:
        yield Problem(f"a {pb.Net.Kind.Name(net.kind)} net cannot start at {_named(source)}", where)
    for sink in sinks:
        if sink[0] != to_kind or sink[1] not in ends:
            yield Problem(f"a {pb.Net.Kind.Name(net.kind)} net cannot end at {_named(sink)}", where)
    if len(set(sinks)) != len(sinks):
        yield Problem("the net ends twice at one place", where)


def bytes_flow(net: pb.Net, where: str) -> Iterator[Problem]:
    """A net carries something."""
    if not net.bytes:
        yield Problem("the net carries no bytes", where)


def route_is_a_tree(
    configuration: Configuration, net: pb.Net, source: tuple[str, int], sinks: Sequence[tuple[str, int]], where: str
) -> Iterator[Problem]:
    """A route is a tree of links between neighbouring switches, from the source to every sink and nowhere else."""
    machine, ends = configuration.machine, list(net.route)
    root, before = _site(configuration, source), dict[int, int]()
    closed = machine.closed_switches()
    if len(ends) % 2:
        yield Problem("the route ends in half a link", where)
    for start, end in zip(ends[::2], ends[1::2]):
        if not _neighbours(start, end, machine.columns, machine.sites):
            yield Problem(f"the route has a link from switch {start} to {end}, which are not neighbours", where)
        if end in closed:
            yield Problem(
                f"the route passes switch {end} of RDU tile {machine.rdu_tile(end)}, which is excluded", where
            )
        if end == root or end in before:
            yield Problem(f"the route reaches switch {end} twice", where)
        before[end] = start
    reached = {root}
    for sink in sinks:
        path: list[int] = []
        at = _site(configuration, sink)
        while at not in reached and at in before and len(path) < len(before):
            path.append(at)
            at = before[at]
        if at in reached:
            reached.update(path)
        else:
            yield Problem(f"the route does not lead from {_named(source)} to {_named(sink)}", where)
    loose = before.keys() - reached
    if loose:
        yield Problem(f"the route has a branch to switch {min(loose)} that leads to no sink", where)


def ports_are_wired(configuration: Configuration, wiring: Wiring) -> Iterator[Problem]:
    """Every PCU that starts a chain takes every input; every PCU that ends one sends every output."""
    for phase_number, phase in enumerate(configuration.phases):
        for stage_number, stage in enumerate(phase.stages):
            record = stage.record
            heads, tails = record.units[:: record.chain], record.units[record.chain - 1 :: record.chain]
            sides = (
                ("input", len(record.inputs), heads, wiring.readers),
                ("output", len(record.outputs), tails, wiring.writers),
            )
            for side, ports, units, joined in sides:
                for port in range(ports):
                    for unit in set(units) - joined[phase_number, stage_number, port]:
                        yield Problem(f"no net joins PCU unit {unit} to {side} {port}", stage.where)


def ports_carry_all(configuration: Configuration, wiring: Wiring) -> Iterator[Problem]:
    """The nets of an input carry what its operand takes, repetitions included; those of an output carry its value."""
    for phase_number, phase in enumerate(configuration.phases):
        for stage_number, stage in enumerate(phase.stages):
            work, parallel = work_of(stage), stage.parallelism
            if work is None:
                continue
            for number, port in enumerate(stage.inputs):
                tile, side = stage.body.values[port.value].type, stage.product_side(port)
                size = operand_bytes(work, parallel, configuration.machine, tile, side)
                carried = wiring.read_bytes[phase_number, stage_number, number]
                if carried < size:
                    yield Problem(
                        f"the nets carry {carried} of the operand's {size} bytes", f"{stage.where}, input {number}"
                    )
            for number, port in enumerate(stage.outputs):
                size = result_bytes(work, parallel, stage.body.values[port.value].type)
                carried = wiring.written_bytes[phase_number, stage_number, number]
                if carried < size:
                    yield Problem(
                        f"the nets carry {carried} of the value's {size} bytes", f"{stage.where}, output {number}"
                    )


def chains_are_wired(configuration: Configuration, wiring: Wiring) -> Iterator[Problem]:
    """Successive PCUs of a chain are joined."""
    for phase_number, phase in enumerate(configuration.phases):
        for stage_number, stage in enumerate(phase.stages):
            for left, right in _chain_links(stage) - wiring.links[phase_number, stage_number]:
                yield Problem(f"no net joins PCU unit {left} to the next of its chain, unit {right}", stage.where)


def streams_are_wired(configuration: Configuration, wiring: Wiring) -> Iterator[Problem]:
    """A stream's AGCUs and all PMUs of its buffer are joined, by nets that carry all its bytes."""
    for phase_number, phase in enumerate(configuration.phases):
        for stream_number, stream in enumerate(phase.streams):
            key = phase_number, stream_number
            buffer = configuration.buffers[stream.record.buffer]
            for unit in set(buffer.units) - wiring.pmus[key]:
                yield Problem(f"no net of the stream joins PMU unit {unit} of {buffer.where}", stream.where)
            for agcu in set(stream.record.agcus) - wiring.agcus[key]:
                yield Problem(f"no net of the stream joins AGCU {agcu}", stream.where)
            size = phase.nest.sliced(buffer.type, stream.slicing).nbytes if stream.slicing else buffer.type.nbytes
            if wiring.stream_bytes[key] < size:
                yield Problem(f"the nets carry {wiring.stream_bytes[key]} of the stream's {size} bytes", stream.where)


def indices_are_wired(configuration: Configuration, wiring: Wiring) -> Iterator[Problem]:
    """Every PMU of an index sends what it holds of it to every AGCU of the stream that goes by it."""
    for phase_number, phase in enumerate(configuration.phases):
        for stream_number, stream in enumerate(phase.streams):
            if stream.pick is None:
                continue
            key = phase_number, stream_number
            buffer = configuration.buffers[stream.record.index.buffer]
            wanted = {(unit, agcu) for unit in buffer.units for agcu in stream.record.agcus}
            for unit, agcu in sorted(wanted - wiring.guides[key]):
                yield Problem(f"no net brings the index from PMU unit {unit} to AGCU {agcu}", stream.where)
            size = phase.nest.sliced(buffer.type, stream.index_slicing).nbytes
            if wiring.index_bytes[key] < size:
                yield Problem(f"the nets carry {wiring.index_bytes[key]} of the index's {size} bytes", stream.where)


def buffers_are_wired(configuration: Configuration, wiring: Wiring) -> Iterator[Problem]:
    """Every PMU of a buffer is written to and read from."""
    for number, buffer in enumerate(configuration.buffers):
        for unit in buffer.units:
            if unit not in wiring.taking[number]:
                yield Problem(f"no net writes to PMU unit {unit}", buffer.where)
            if unit not in wiring.sending[number]:
                yield Problem(f"no net reads from PMU unit {unit}", buffer.where)


def _record(configuration: Configuration, net: pb.Net, source: int, sinks: Sequence[int], wiring: Wiring) -> None:
    """Note what a net joins."""
    phase = configuration.phases[net.phase]
    if net.kind == pb.Net.READ:
        wiring.readers[net.phase, net.stage, net.port].update(sinks)
        wiring.read_bytes[net.phase, net.stage, net.port] += net.bytes
        wiring.sending[phase.stages[net.stage].record.inputs[net.port].buffer].add(source)
    elif net.kind == pb.Net.WRITE:
        wiring.writers[net.phase, net.stage, net.port].add(source)
        wiring.written_bytes[net.phase, net.stage, net.port] += net.bytes
        wiring.taking[phase.stages[net.stage].record.outputs[net.port].buffer].update(sinks)
    elif net.kind == pb.Net.CHAIN:
        wiring.links[net.phase, net.stage].update((source, sink) for sink in sinks)
    elif net.kind == pb.Net.INDEX:
        wiring.guides[net.phase, net.stream].update((source, sink) for sink in sinks)
        wiring.index_bytes[net.phase, net.stream] += net.bytes
        wiring.sending[phase.streams[net.stream].record.index.buffer].add(source)
    else:
        key, buffer = (net.phase, net.stream), phase.streams[net.stream].record.buffer
        loads = net.kind == pb.Net.LOAD
        wiring.pmus[key].update(sinks if loads else [source])
        wiring.agcus[key].update([source] if loads else sinks)
        wiring.stream_bytes[key] += net.bytes
        (wiring.taking if loads else wiring.sending)[buffer].update(sinks if loads else [source])


def _allowed(configuration: Configuration, net: pb.Net) -> tuple[Ends, Ends]:
    """What may stand at the source and at the sinks of a net."""
    phase = configuration.phases[net.phase]
    if net.kind in (pb.Net.LOAD, pb.Net.STORE):
        stream = phase.streams[net.stream].record
        agcus: Ends = ("AGCU", frozenset(stream.agcus))
        pmus: Ends = ("unit", frozenset(configuration.buffers[stream.buffer].units))
        if stream.store != (net.kind == pb.Net.STORE):
            return ("AGCU", frozenset()), ("AGCU", frozenset())
        return (pmus, agcus) if stream.store else (agcus, pmus)
    if net.kind == pb.Net.INDEX:
        moved = phase.streams[net.stream]
        held = configuration.buffers[moved.record.index.buffer].units if moved.pick is not None else ()
        return ("unit", frozenset(held)), ("AGCU", frozenset(moved.record.agcus))
    stage = phase.stages[net.stage].record
    pcus: Ends = ("unit", frozenset(stage.units))
    if net.kind == pb.Net.CHAIN:
        links = _chain_links(phase.stages[net.stage])
        return pcus, ("unit", frozenset(right for left, right in links if left == net.source.unit))
    ports = stage.inputs if net.kind == pb.Net.READ else stage.outputs
    buffer: Ends = ("unit", frozenset(configuration.buffers[ports[net.port].buffer].units))
    return (buffer, pcus) if net.kind == pb.Net.READ else (pcus, buffer)


def _chain_links(stage: Stage) -> set[tuple[int, int]]:
    """Successive PCUs of every chain."""
    units, chain = list(stage.record.units), stage.record.chain
    return {link for head in range(0, len(units), chain) for link in pairwise(units[head : head + chain])}


def _named(end: tuple[str, int]) -> str:
    return f"{end[0]} {end[1]}"


def _owner(configuration: Configuration, net: pb.Net) -> Stage | Stream:
    phase = configuration.phases[net.phase]
    return phase.stages[net.stage] if net.WhichOneof("owner") == "stage" else phase.streams[net.stream]


def _end(terminal: pb.Terminal) -> tuple[str, int]:
    return ("AGCU", terminal.agcu) if terminal.WhichOneof("at") == "agcu" else ("unit", terminal.unit)


def _site(configuration: Configuration, end: tuple[str, int]) -> int:
    """The switch that a terminal is attached to."""
    return configuration.machine.agcu_sites[end[1]] if end[0] == "AGCU" else configuration.sites[end[1]]


def _neighbours(start: int, end: int, columns: int, sites: int) -> bool:
    if start >= sites or end >= sites:
        return False
    return abs(start - end) == columns or (abs(start - end) == 1 and start // columns == end // columns)
