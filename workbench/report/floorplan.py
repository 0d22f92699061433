"""Where a configuration sits on the grid: sites of units, nets with their routes, and how full links are."""

from __future__ import annotations

from typing import Any

from pef import pef_pb2 as pb
from pef.decoded import Configuration
from pef.links import link_loads

Facts = dict[str, Any]


def floorplan(configuration: Configuration) -> Facts:
    """Sites by unit, nets, and for every phase the cycles that each link needs. Links are [from site, to site]."""
    rate = configuration.machine.link_bytes_per_cycle
    return {
        "sites": configuration.sites,
        "nets": [_net(net) for net in configuration.record.nets],
        "links": [
            [
                [start, end, round(size / rate, 1)]
                for (start, end), size in sorted(link_loads(configuration, phase).items())
            ]
            for phase in range(len(configuration.phases))
        ],
    }


def _net(net: pb.Net) -> list[Any]:
    """Phase, owner (`stage` or `stream` and its index), kind, port, source, sinks, bytes, and the links it takes.

    A unit is told by its index, an AGCU by -1 - its number.
    """
    owner = net.WhichOneof("owner")
    index = net.stage if owner == "stage" else net.stream
    kind = pb.Net.Kind.Name(net.kind).lower()
    sinks = [_terminal(sink) for sink in net.sinks]
    return [net.phase, owner, index, kind, net.port, _terminal(net.source), sinks, net.bytes, list(net.route)]


def _terminal(terminal: pb.Terminal) -> int:
    return terminal.unit if terminal.WhichOneof("at") == "unit" else -1 - terminal.agcu
