"""Random changes to how a PEF does what it does: units, sites, nets, routes, buffers, tiles, phases, memory.

Each change takes a PEF and a source of randomness, and returns what a refusal must name, or None where the PEF has
nothing to change in this way. What a PEF computes (operators, their order of operands, which symbol is bound to which
slot, the order of sections) is its meaning: no checker can know another, so nothing here touches it.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator

from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.machine import SiteKind

Change = Callable[[pb.Pef, random.Random], "str | None"]


def any_configuration(pef: pb.Pef, pick: random.Random) -> tuple[int, pb.Configuration]:
    number = pick.randrange(len(pef.configurations))
    return number, pef.configurations[number]


def any_net(pef: pb.Pef, pick: random.Random, routed: bool = False) -> tuple[str, pb.Configuration, int]:
    number, configuration = any_configuration(pef, pick)
    nets = [i for i, net in enumerate(configuration.nets) if net.route or not routed]
    chosen = pick.choice(nets)
    return f"net {chosen} of configuration {number},", configuration, chosen


def any_buffer(pef: pb.Pef, pick: random.Random, wanted=lambda buffer: True):  # type: ignore[no-untyped-def]
    found = [
        (re.escape(f"buffer {i} ({buffer.name})"), configuration, buffer)
        for configuration in pef.configurations
        for i, buffer in enumerate(configuration.buffers)
        if wanted(buffer)
    ]
    return pick.choice(found) if found else (None, None, None)


def stages(pef: pb.Pef) -> Iterator[tuple[str, pb.Configuration, int, int]]:
    for configuration in pef.configurations:
        for p, phase in enumerate(configuration.phases):
            for s, stage in enumerate(phase.stages):
                yield re.escape(f"stage {s} ({stage.name})"), configuration, p, s


# ---- always illegal


def remove_route(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick, routed=True)
    configuration.nets[net].ClearField("route")
    return f"{where}.*the route does not lead from"


def cut_route(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick, routed=True)
    route = configuration.nets[net].route
    at = 2 * pick.randrange(len(route) // 2)
    del route[at : at + 2]
    return f"{where}.*the route"


def dangle_route(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick, routed=True)
    machine = decode_machine(pef.machine)
    on = set(configuration.nets[net].route)
    steps = [(a, a + d) for a in on for d in (1, -1) if a // machine.columns == (a + d) // machine.columns]
    start, end = pick.choice([step for step in steps if step[1] not in on])
    configuration.nets[net].route.extend([start, end])
    return f"{where}.*leads to no sink"


def drop_net(pef: pb.Pef, pick: random.Random) -> str:
    _, configuration, net = any_net(pef, pick)
    record = configuration.nets[net]
    phase = configuration.phases[record.phase]
    if record.WhichOneof("owner") == "stage":
        named = f"stage {record.stage} ({phase.stages[record.stage].name})"
    else:
        named = f"stream {record.stream}"
    del configuration.nets[net]
    return f"{re.escape(named)}.*(no net|the nets carry)"


def starve_net(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick)
    configuration.nets[net].bytes = 0
    return f"{where}.*carries no bytes"


def redirect_net(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick)
    record = configuration.nets[net]
    taken = {record.source.unit, *(sink.unit for sink in record.sinks)}
    record.sinks[0].unit = pick.choice([unit for unit in range(len(configuration.units)) if unit not in taken])
    return f"{where}.*(the route does not lead|cannot end at)"


def two_units_on_one_site(pef: pb.Pef, pick: random.Random) -> str:
    _, configuration = any_configuration(pef, pick)
    first, second = sorted(pick.sample(range(len(configuration.units)), 2))
    configuration.units[second].site = site = configuration.units[first].site
    return f"unit {second} stands on site {site}, where unit {first} is"


def move_without_routing(pef: pb.Pef, pick: random.Random) -> str:
    number, configuration = any_configuration(pef, pick)
    machine = decode_machine(pef.machine)
    unit = pick.randrange(len(configuration.units))
    kind = machine.kind(configuration.units[unit].site)
    free = set(machine.working_sites(kind)) - {u.site for u in configuration.units}
    configuration.units[unit].site = pick.choice(sorted(free))
    return f"net .* of configuration {number},.*the route.*(does not lead|leads to no sink|reaches switch)"


def wrong_kind_of_site(pef: pb.Pef, pick: random.Random) -> str:
    _, configuration = any_configuration(pef, pick)
    machine = decode_machine(pef.machine)
    unit = pick.randrange(len(configuration.units))
    kind = machine.kind(configuration.units[unit].site)
    other = SiteKind.PMU if kind is SiteKind.PCU else SiteKind.PCU
    configuration.units[unit].site = site = pick.choice(machine.working_sites(other))
    return f"unit {unit} on site {site} is a {other.name}"


def site_that_is_faulty(pef: pb.Pef, pick: random.Random) -> str:
    number, configuration = any_configuration(pef, pick)
    unit = pick.randrange(len(configuration.units))
    pef.machine.faulty_sites.append(configuration.units[unit].site)
    return f"configuration {number}: unit {unit} stands on site {configuration.units[unit].site}, which is faulty"


def take_a_unit_away(pef: pb.Pef, pick: random.Random) -> str:
    name, _, buffer = any_buffer(pef, pick)
    del buffer.units[pick.randrange(len(buffer.units))]
    return f"{name}|cannot (start|end) at unit|belongs to no stage and no buffer"


def slices(buffer: pb.Buffer) -> int:
    """How many slices the loops make of its tensor."""
    return math.prod(buffer.counts)


def no_depth(pef: pb.Pef, pick: random.Random) -> str:
    name, _, buffer = any_buffer(pef, pick)
    buffer.depth = 0
    return f"{name}: the buffer holds 0 of its"


def too_deep(pef: pb.Pef, pick: random.Random) -> str:
    name, _, buffer = any_buffer(pef, pick)
    buffer.depth = slices(buffer) + pick.randrange(1, 5)
    return f"{name}: the buffer holds {buffer.depth} of its {slices(buffer)} slices"


def other_counts(pef: pb.Pef, pick: random.Random) -> str | None:
    name, _, buffer = any_buffer(pef, pick, lambda buffer: buffer.depth < slices(buffer))
    if buffer is None:
        return None
    buffer.counts[pick.randrange(len(buffer.counts))] *= 2
    return f"{name}"


def shrink_pmus(pef: pb.Pef, pick: random.Random) -> str:
    pef.machine.pmu_bytes = pick.choice([16, 64, 256])
    return r"PMU unit \d+ on site \d+ holds \d+ bytes of .*buffer .*more than its"


def grow_tensor(pef: pb.Pef, pick: random.Random) -> str | None:
    name, _, buffer = any_buffer(pef, pick, lambda buffer: len(buffer.type.shape) > 0)
    if buffer is None:
        return None
    buffer.type.shape[0] *= 1 << 20
    return f"holds \\d+ bytes of .*{name}"


def wrong_axis_of_port(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, p, s = pick.choice(list(stages(pef)))
    stage = configuration.phases[p].stages[s]
    port = pick.choice([*stage.inputs, *stage.outputs])
    rank, axes = len(configuration.buffers[port.buffer].type.shape), stage.values[port.value].axes
    loop = pick.randrange(len(configuration.phases[p].loops))
    axes.extend([-1] * (loop + 1 - len(axes)))
    axes[loop] = pick.choice([axis for axis in range(-1, rank + 1) if axis != axes[loop]])
    return f"{where}, (input|output|value|operation)"


def wrong_axis_of_stream(pef: pb.Pef, pick: random.Random) -> str:
    _, configuration = any_configuration(pef, pick)
    phase = pick.choice([phase for phase in configuration.phases if phase.streams])
    number = pick.randrange(len(phase.streams))
    stream = phase.streams[number]
    rank = len(configuration.buffers[stream.buffer].type.shape)
    # a store's values are not cut along the new axis; a load's buffer is
    stream.axes[:] = [rank + pick.randrange(3)] if not stream.store or not stream.axes else []
    return f"stream {number}|buffer {stream.buffer}"


def wrong_axis_of_ring(pef: pb.Pef, pick: random.Random) -> str | None:
    name, _, buffer = any_buffer(pef, pick, lambda buffer: buffer.depth < slices(buffer))
    if buffer is None:
        return None
    loop = pick.randrange(len(buffer.axes))
    old = buffer.axes[loop]
    buffer.axes[loop] = pick.choice([axis for axis in range(-1, len(buffer.type.shape)) if axis != old])
    return f"{name}"


def swap_dependent_stages(pef: pb.Pef, pick: random.Random) -> str | None:
    """Exchange a stage and one that reads what it writes, with all their nets."""
    pairs = []
    for where, configuration, p, s in stages(pef):
        phase = configuration.phases[p]
        written = {port.buffer for port in phase.stages[s].outputs}
        for later in range(s + 1, len(phase.stages)):
            if written & {port.buffer for port in phase.stages[later].inputs}:
                pairs.append((where, configuration, p, s, later))
    if not pairs:
        return None
    _, configuration, p, s, later = pick.choice(pairs)
    swap_stages(configuration, p, s, later)
    return "is read before .* writes it"


def swap_stages(configuration: pb.Configuration, phase: int, first: int, second: int) -> None:
    """Exchange two stages and the numbers by which nets know them."""
    records = configuration.phases[phase].stages
    kept = pb.Stage.FromString(records[first].SerializeToString())
    records[first].CopyFrom(records[second])
    records[second].CopyFrom(kept)
    exchanged = {first: second, second: first}
    for net in configuration.nets:
        if net.phase == phase and net.WhichOneof("owner") == "stage":
            net.stage = exchanged.get(net.stage, net.stage)


def overlap_symbols(pef: pb.Pef, pick: random.Random) -> str:
    lasting = [symbol for symbol in pef.symbols if symbol.persistent]
    one, other = pick.sample(lasting, 2)
    other.offset, other.tier = one.offset, one.tier
    return f"({re.escape(one.name)}|{re.escape(other.name)}).*shares memory with .*while both live"


def beyond_memory(pef: pb.Pef, pick: random.Random) -> str:
    symbol = pick.choice(pef.symbols)
    symbol.offset = pef.machine.tiers[symbol.tier].capacity_bytes // 64 * 64
    return f"{re.escape(symbol.name)}.*ends at byte"


def end_a_lifetime(pef: pb.Pef, pick: random.Random) -> str | None:
    found = [symbol for symbol in pef.symbols if not symbol.persistent and symbol.last > symbol.first]
    if not found:
        return None
    symbol = pick.choice(found)
    symbol.last = symbol.first
    return f"{re.escape(symbol.name)}.* is used outside its lifetime"


def other_parallelism(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, p, s = pick.choice(list(stages(pef)))
    stage = configuration.phases[p].stages[s]
    field = pick.choice(["batch_parallel", "row_parallel", "column_parallel", "chain"])
    setattr(stage, field, getattr(stage, field) + 1)
    return f"{where}"


def lose_a_pcu(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, p, s = pick.choice(list(stages(pef)))
    units = configuration.phases[p].stages[s].units
    del units[pick.randrange(len(units))]
    return f"{where}"


def other_combination(pef: pb.Pef, pick: random.Random) -> str | None:
    found = []
    for where, configuration, p, s in stages(pef):
        for number, port in enumerate(configuration.phases[p].stages[s].outputs):
            if port.combine:
                found.append((f"{where}, output {number}", port))
    if not found:
        return None
    where, port = pick.choice(found)
    port.combine = pick.choice(["", "max", "median"])
    return f"{where}.*combine"


def other_tile(pef: pb.Pef, pick: random.Random) -> str | None:
    found = [
        (f"{where}", value)
        for where, configuration, p, s in stages(pef)
        for value in configuration.phases[p].stages[s].values
        if len(value.type.shape)
    ]
    where, value = pick.choice(found)
    axis = pick.randrange(len(value.type.shape))
    value.type.shape[axis] += pick.choice([1, 2, 3])
    return where


def drop_a_stage(pef: pb.Pef, pick: random.Random) -> str:
    _, configuration, p, s = pick.choice(list(stages(pef)))
    del configuration.phases[p].stages[s]
    return "configuration|location"


def drop_a_stream(pef: pb.Pef, pick: random.Random) -> str:
    """Without its nets; the streams behind it keep their numbers in theirs."""
    _, configuration = any_configuration(pef, pick)
    p = pick.choice([i for i, phase in enumerate(configuration.phases) if phase.streams])
    s = pick.randrange(len(configuration.phases[p].streams))
    del configuration.phases[p].streams[s]
    of_stages = [net for net in configuration.nets if net.WhichOneof("owner") == "stage"]
    of_streams = [net for net in configuration.nets if net.WhichOneof("owner") == "stream"]
    kept = of_stages + [net for net in of_streams if (net.phase, net.stream) != (p, s)]
    for net in kept:
        if net.WhichOneof("owner") == "stream" and net.phase == p and net.stream > s:
            net.stream -= 1
    del configuration.nets[:]
    configuration.nets.extend(kept)
    return r"slot \d+ is neither|has 0 writers|nothing reads the buffer|no net reads from|is loaded before it is stored"


ILLEGAL: dict[str, Change] = {
    change.__name__: change
    for change in (
        remove_route,
        cut_route,
        dangle_route,
        drop_net,
        starve_net,
        redirect_net,
        two_units_on_one_site,
        move_without_routing,
        wrong_kind_of_site,
        site_that_is_faulty,
        take_a_unit_away,
        no_depth,
        too_deep,
        other_counts,
        shrink_pmus,
        grow_tensor,
        wrong_axis_of_port,
        wrong_axis_of_stream,
        wrong_axis_of_ring,
        swap_dependent_stages,
        overlap_symbols,
        beyond_memory,
        end_a_lifetime,
        other_parallelism,
        lose_a_pcu,
        other_combination,
        other_tile,
        drop_a_stage,
        drop_a_stream,
    )
}


# ---- legal or not, as it comes


def another_depth(pef: pb.Pef, pick: random.Random) -> str | None:
    name, _, buffer = any_buffer(pef, pick, lambda buffer: slices(buffer) > 1)
    if buffer is not None:
        buffer.depth = pick.randrange(1, slices(buffer) + 1)
    return name


def reorder_pcus(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, p, s = pick.choice(list(stages(pef)))
    stage = configuration.phases[p].stages[s]
    chains = [stage.units[i : i + stage.chain] for i in range(0, len(stage.units), stage.chain)]
    pick.shuffle(chains)
    stage.units[:] = [unit for chain in chains for unit in chain]
    return where


def swap_any_stages(pef: pb.Pef, pick: random.Random) -> str | None:
    many = [(c, p) for c in pef.configurations for p, phase in enumerate(c.phases) if len(phase.stages) > 1]
    configuration, p = pick.choice(many)
    first, second = pick.sample(range(len(configuration.phases[p].stages)), 2)
    swap_stages(configuration, p, first, second)
    return "stage"


def shift_loop_count(pef: pb.Pef, pick: random.Random) -> str | None:
    """Run a loop of a phase another number of times, without telling anyone else."""
    configuration = any_configuration(pef, pick)[1]
    phase = pick.choice(configuration.phases)
    loop = pick.randrange(len(phase.loops))
    phase.loops[loop] = pick.choice([count for count in (1, 2, 4, 8, 16, 32) if count != phase.loops[loop]])
    return "phase"


def move_symbol(pef: pb.Pef, pick: random.Random) -> str:
    """Next to another symbol, or behind them all."""
    symbol, other = pick.sample(list(pef.symbols), 2)
    offset = max(other.offset for other in pef.symbols) + (1 << 20)
    symbol.offset = pick.choice([max(0, other.offset + 64 * pick.randrange(-3, 40)), offset // 64 * 64])
    return symbol.name


def another_lifetime(pef: pb.Pef, pick: random.Random) -> str:
    symbol = pick.choice(pef.symbols)
    symbol.persistent = pick.random() < 0.5
    symbol.first, symbol.last = sorted(pick.randrange(len(pef.sections)) for _ in range(2))
    return symbol.name


def another_buffer(pef: pb.Pef, pick: random.Random) -> str:
    """A port reads or writes another buffer. Which of the buffers in one PMU it reads is part of the meaning."""
    where, configuration, p, s = pick.choice(list(stages(pef)))
    stage = configuration.phases[p].stages[s]
    port = pick.choice([*stage.inputs, *stage.outputs])
    units = set(configuration.buffers[port.buffer].units)
    port.buffer = pick.choice([i for i, other in enumerate(configuration.buffers) if units.isdisjoint(other.units)])
    return where


def swap_sites(pef: pb.Pef, pick: random.Random) -> str:
    configuration = any_configuration(pef, pick)[1]
    one, other = pick.sample(list(configuration.units), 2)
    one.site, other.site = other.site, one.site
    return "unit"


def another_net_kind(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick)
    configuration.nets[net].kind = pick.randrange(5)
    return where


def other_bytes(pef: pb.Pef, pick: random.Random) -> str:
    where, configuration, net = any_net(pef, pick)
    configuration.nets[net].bytes = max(1, int(configuration.nets[net].bytes * pick.choice([0.25, 0.5, 2, 8])))
    return where


def another_axis(pef: pb.Pef, pick: random.Random) -> str:
    """Along the whole of one buffer: the buffer, its ports, their values and its streams."""
    name, configuration, buffer = any_buffer(pef, pick, lambda buffer: len(buffer.type.shape) > 1)
    number = list(configuration.buffers).index(buffer)
    old, new = pick.choice([*buffer.axes, -1]), pick.randrange(len(buffer.type.shape))
    cuts = [buffer.axes]
    for phase in configuration.phases:
        for stage in phase.stages:
            ports = [port for port in (*stage.inputs, *stage.outputs) if port.buffer == number]
            cuts += [stage.values[port.value].axes for port in ports]
        for stream in phase.streams:
            if stream.buffer == number:
                cuts += [stream.axes, *(value.axes for value in stream.values)]
    for axes in cuts:
        axes[:] = [new if axis == old else axis for axis in axes]
    return name


def whole_instead_of_slices(pef: pb.Pef, pick: random.Random) -> str | None:
    """A stream moves its buffer at once instead of slice by slice, or the other way round."""
    found = [
        (configuration, stream)
        for configuration in pef.configurations
        for phase in configuration.phases
        for stream in phase.streams
    ]
    configuration, stream = pick.choice(found)
    buffer = configuration.buffers[stream.buffer]
    stream.axes[:] = [] if stream.axes else [pick.randrange(max(1, len(buffer.type.shape)))]
    if not stream.axes and pick.random() < 0.5:
        buffer.depth = slices(buffer)
    return buffer.name


ANY: dict[str, Change] = ILLEGAL | {
    change.__name__: change
    for change in (
        another_depth,
        reorder_pcus,
        swap_any_stages,
        shift_loop_count,
        move_symbol,
        another_lifetime,
        another_buffer,
        swap_sites,
        another_net_kind,
        other_bytes,
        another_axis,
        whole_instead_of_slices,
    )
}
