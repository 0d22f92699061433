"""Placement and routing show in the cycles: hops add latency, shared links slow their users down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.codec import encode_type
from pef.decoded import Configuration
from pef.machine import SiteKind
from runtime.timing.network import Channel, Network
from tests.pef.samples import ConfigurationBuilder, route_in_dimension_order
from tests.timing.build import FREE_MEMORY, bf16, chain, execution_of, gemm, hops, stage_reports

NARROW = replace(FREE_MEMORY, link_bytes_per_cycle=64)


def rerouted(builder: ConfigurationBuilder) -> pb.Configuration:
    """The configuration with every net routed anew in dimension order."""
    for net in builder.record.nets:
        ends = [builder.site(sink) for sink in net.sinks]
        net.route[:] = route_in_dimension_order(builder.machine, builder.site(net.source), ends)
    return builder.record


@given(st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_moving_the_only_pcu_changes_time_by_its_hops(choice: int) -> None:
    builder = gemm(64, 32, 12)
    near = execution_of(builder.build())
    configuration = builder.record
    before = [hops(configuration, 0, *net) for net in ((pb.Net.READ, 0, 0), (pb.Net.READ, 0, 1), (pb.Net.WRITE, 0))]
    pcu = configuration.phases[0].stages[0].units[0]
    taken = {unit.site for unit in configuration.units}
    free = [site for site in FREE_MEMORY.working_sites(SiteKind.PCU) if site not in taken]
    configuration.units[pcu].site = free[choice % len(free)]
    far = execution_of(rerouted(builder))
    after = [hops(configuration, 0, *net) for net in ((pb.Net.READ, 0, 0), (pb.Net.READ, 0, 1), (pb.Net.WRITE, 0))]
    loads = (64 * 32 * 2 / 64, 32 * 12 * 2 / 64)
    load_hops = [hops(configuration, 0, pb.Net.LOAD, i) for i in range(2)]

    def latency(read: list[int]) -> float:
        return max(size + load + hop for size, load, hop in zip(loads, load_hops, read[:2])) + read[2]

    assert far.cycles - near.cycles == latency(after) - latency(before)
    if all(b >= a for a, b in zip(before, after)):
        assert far.cycles >= near.cycles


def test_a_detour_is_never_faster() -> None:
    builder = chain((4, 2, 2), 4)
    straight = execution_of(builder.build()).cycles
    net = next(n for n in builder.record.nets if n.kind == pb.Net.WRITE)
    start, end = net.route[0], net.route[1]
    around = start + 1 if end == start + FREE_MEMORY.columns else start + FREE_MEMORY.columns
    step = end + 1 if around == start + 1 else end + FREE_MEMORY.columns
    net.route[:2] = [start, around, around, step, step, end]
    assert execution_of(builder.record).cycles > straight


def test_overloaded_link_slows_every_stage_that_uses_it() -> None:
    free = execution_of(chain((4, 2, 2), 4, rows=64).build())
    configuration = chain((4, 2, 2), 4, rows=64, machine=NARROW).build()
    shared = next(n for n in configuration.nets if n.kind == pb.Net.READ and n.stage == 1)
    shared.bytes *= 100
    slow = execution_of(configuration, NARROW)
    first, second = stage_reports(slow)
    link = shared.route[:2]
    crossing = [n for n in configuration.nets if any(n.route[i : i + 2] == link for i in range(0, len(n.route), 2))]
    assert second.network_cycles == -(-sum(net.bytes for net in crossing) // 64)
    assert second.interval_cycles == second.network_cycles > second.compute_cycles
    assert second.time.network == 4 * (second.interval_cycles - second.compute_cycles)
    assert slow.cycles > free.cycles
    assert first.network_cycles < second.network_cycles


def test_link_load_is_the_sum_of_the_nets_that_cross_it() -> None:
    network = network_of([(100, 1, 1), (28, 2, 1)])
    near, far = Channel(0, "stage", 0, pb.Net.READ, 0), Channel(0, "stage", 1, pb.Net.READ, 0)
    assert network.event_cycles(near) == network.event_cycles(far) == 2
    assert (network.hop_cycles(near), network.hop_cycles(far)) == (1, 2)
    assert network.transfer_cycles(far) == 1


def test_nets_of_other_tempos_count_as_often_as_they_carry() -> None:
    """A stage of the outer loop fires once where one of both fires ten times: it sees it once, and is seen a tenth."""
    network = network_of([(640, 1, 1), (1280, 1, 2)], loops=(4, 10))
    slow, fast = Channel(0, "stage", 0, pb.Net.READ, 0), Channel(0, "stage", 1, pb.Net.READ, 0)
    assert network.event_cycles(slow) == (640 + 1280) / 64
    assert network.event_cycles(fast) == -(-(640 // 10 + 1280) // 64)


def network_of(nets: Sequence[tuple[int, int, int]], loops: tuple[int, ...] = (2,)) -> Network:
    """Stages that read over a line of switches: the bytes, the last switch and the level of each."""
    record = pb.Configuration()
    phase = record.phases.add(loops=loops)
    for site in (0, 1, 2):
        record.units.add(site=site)
    record.buffers.add(type=encode_type(bf16(*loops)), axes=range(len(loops)), counts=loops, units=[0])
    for stage, (size, sink, level) in enumerate(nets):
        reader = phase.stages.add()
        reader.values.add(type=encode_type(bf16(*(1,) * level, *loops[level:])), axes=range(level))
        reader.inputs.add()
        net = record.nets.add(kind=pb.Net.READ, stage=stage, bytes=size, route=[0, 1, 1, 2][: 2 * sink])
        net.source.unit = 0
        net.sinks.add(unit=sink)
    return Network(Configuration.of(record, NARROW, "configuration 0"))


def test_whole_loads_do_not_count_in_steady_state() -> None:
    configuration = gemm(64, 32, 12, tiles=2, machine=NARROW).build()
    load = next(n for n in configuration.nets if n.kind == pb.Net.LOAD)
    before = stage_reports(execution_of(configuration, NARROW))[0].network_cycles
    load.bytes *= 1000
    after = execution_of(configuration, NARROW)
    assert stage_reports(after)[0].network_cycles == before
    stream = after.phases[0].streams[0]
    assert stream.ends[0] - stream.begins[0] == pytest.approx(-(-load.bytes // 64))


def test_missing_net_and_broken_route_are_refused() -> None:
    configuration = gemm(64, 32, 12).build()
    kept = [net for net in configuration.nets if net.kind != pb.Net.WRITE]
    del configuration.nets[:]
    configuration.nets.extend(kept)
    with pytest.raises(IllegalPefError, match="stage 'gemm': no net carries its output 0"):
        execution_of(configuration)
    broken = gemm(64, 32, 12).build()
    del broken.nets[0].route[-2:]
    with pytest.raises(IllegalPefError, match="has no route to site"):
        execution_of(broken)
