"""What the nets of a phase ask of the links between switches."""

from __future__ import annotations

from collections import Counter

from pef import pef_pb2 as pb
from pef.decoded import Configuration

Link = tuple[int, int]
"""A directed link, by the sites of its two switches."""


def link_loads(configuration: Configuration, phase: int) -> Counter[Link]:
    """Bytes that each link carries in one run of the phase while it streams.

    Whole loads and stores come before the first firing and after the last: they are not counted. A load beyond the
    link's capacity is legal, it slows the stages that use the link.
    """
    loads: Counter[Link] = Counter()
    for net in configuration.record.nets:
        if net.phase != phase or _moves_whole(configuration, net):
            continue
        ends, size = list(net.route), net.bytes * net_events(configuration, net)
        for link in zip(ends[::2], ends[1::2]):
            loads[link] += size
    return loads


def net_events(configuration: Configuration, net: pb.Net) -> int:
    """How often a net carries its bytes in one run of its phase."""
    phase = configuration.phases[net.phase]
    if net.WhichOneof("owner") == "stage":
        return phase.stages[net.stage].events
    return configuration.transfers(net.phase, phase.streams[net.stream])


def _moves_whole(configuration: Configuration, net: pb.Net) -> bool:
    owner = net.WhichOneof("owner")
    return owner == "stream" and configuration.phases[net.phase].streams[net.stream].is_whole


def busiest_link_cycles(configuration: Configuration, phase: int) -> float:
    """Cycles of one run of the phase that its most loaded link needs."""
    loads = link_loads(configuration, phase)
    return max(loads.values(), default=0) / configuration.machine.link_bytes_per_cycle
