"""What the nets of a phase ask of the links between switches."""

from __future__ import annotations

from collections import Counter

from pef import pef_pb2 as pb

Link = tuple[int, int]
"""A directed link, by the sites of its two switches."""


def link_loads(pef: pb.Pef, configuration: int, phase: int) -> Counter[Link]:
    """Bytes that each link carries per tile while the phase streams.

    Whole loads and stores come before the first tile and after the last: they are not counted. A load beyond the
    link's capacity is legal, it slows the stages that use the link.
    """
    record = pef.configurations[configuration]
    streams = record.phases[phase].streams
    loads: Counter[Link] = Counter()
    for net in record.nets:
        if net.phase != phase or (net.WhichOneof("owner") == "stream" and streams[net.stream].axis < 0):
            continue
        ends, size = list(net.route), net.bytes
        for link in zip(ends[::2], ends[1::2]):
            loads[link] += size
    return loads


def busiest_link_cycles(pef: pb.Pef, configuration: int, phase: int) -> float:
    """Cycles per tile that the most loaded link of the phase needs."""
    loads = link_loads(pef, configuration, phase)
    return max(loads.values(), default=0) / pef.machine.link_bytes_per_cycle
