"""Where a configuration sits on the grid: sites of units, nets with their routes, and how full links are.

A link is one number, four times the site that it leaves plus its direction: right, left, down, up.
"""

from __future__ import annotations

from typing import Any

from pef import pef_pb2 as pb
from pef.decoded import Configuration
from pef.links import link_loads

Facts = dict[str, Any]


def floorplan(configuration: Configuration) -> Facts:
    """Sites by unit, nets, and for every phase the links that are used with the cycles that each one needs."""
    machine = configuration.machine
    return {
        "sites": configuration.sites,
        "nets": [_net(net, machine.columns) for net in configuration.record.nets],
        "links": [
            [
                [link(start, end, machine.columns), round(size / machine.link_bytes_per_cycle, 1)]
                for (start, end), size in sorted(link_loads(configuration, phase).items())
            ]
            for phase in range(len(configuration.phases))
        ],
    }


def link(start: int, end: int, columns: int) -> int:
    """The number of a link between neighbouring sites."""
    return 4 * start + {1: 0, -1: 1, columns: 2, -columns: 3}[end - start]


def _net(net: pb.Net, columns: int) -> list[Any]:
    """Phase, owner (`stage` or `stream` and its index), kind, port, source, sinks, bytes, and the links it takes.

    A unit stands as its index, an AGCU as -1 - its number.
    """
    owner = net.WhichOneof("owner")
    index = net.stage if owner == "stage" else net.stream
    kind = pb.Net.Kind.Name(net.kind).lower()
    sinks = [_terminal(sink) for sink in net.sinks]
    route = [link(start, end, columns) for start, end in zip(net.route[::2], net.route[1::2])]
    return [net.phase, owner, index, kind, net.port, _terminal(net.source), sinks, net.bytes, route]


def _terminal(terminal: pb.Terminal) -> int:
    return terminal.unit if terminal.WhichOneof("at") == "unit" else -1 - terminal.agcu
