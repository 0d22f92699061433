"""Sites and routes as data that people can read: a line for each unit and for each net."""

from __future__ import annotations

from collections.abc import Sequence

from backends.rdu.dump.codec import Data
from backends.rdu.route.route import STEPS, Routing, link_ends
from backends.rdu.wire.netlist import Placement, Terminal
from backends.rdu.wire.nets import Connection, Wiring
from ir.errors import Problem, UsageError
from pef import pef_pb2 as pb
from pef.machine import Machine


def encode_sites(wiring: Wiring, placement: Placement) -> list[Data]:
    """`[pcu, matmul[0], 12]`: kind, unit, site."""
    return [[unit.kind.value, unit.name, site] for unit, site in zip(wiring.units, placement.sites)]


def decode_sites(wiring: Wiring, data: Sequence[Data], where: str) -> Placement:
    """The placement; only the sites may be changed. Raises UsageError where the units are others."""
    expected = [[unit.kind.value, unit.name] for unit in wiring.units]
    if [list(entry[:2]) for entry in data] != expected:
        hint = "change the sites alone; to change units, start from a dump of the step allocate"
        raise UsageError(Problem(f"the section has {len(expected)} units, and these are others", where, hint))
    return Placement(tuple(int(site) for _, _, site in data))


def encode_routes(wiring: Wiring, routing: Routing, machine: Machine) -> list[Data]:
    """For each net what it connects, and the switches at the ends of its links: `12>13`, source first."""
    return [
        {"net": _label(connection, wiring), "links": [_ends(link, machine) for link in route]}
        for connection, route in zip(wiring.connections, routing.routes)
    ]


def decode_routes(wiring: Wiring, data: Sequence[Data], machine: Machine, where: str) -> Routing:
    """The routing; only the links may be changed. Raises UsageError for other nets, and links that do not exist."""
    expected = [_label(connection, wiring) for connection in wiring.connections]
    if [entry["net"] for entry in data] != expected:
        hint = "change the links alone; to change nets, start from a dump of the step allocate"
        raise UsageError(Problem(f"the section has {len(expected)} nets, and these are others", where, hint))
    links = {_ends(link, machine): link for link in range(4 * machine.sites) if _exists(link, machine)}
    unknown = sorted({text for entry in data for text in entry["links"]} - set(links))
    UsageError.raise_if([Problem(f"there is no link {text!r}: switches are neighbours", where) for text in unknown])
    # Overloads are the router's own remark about its result; whoever needs loads counts them from the routes.
    return Routing(tuple(tuple(links[text] for text in entry["links"]) for entry in data), ())


def _exists(link: int, machine: Machine) -> bool:
    """Whether a link stays on the grid."""
    switch, direction = divmod(link, len(STEPS))
    row, column = divmod(switch, machine.columns)
    down, across = STEPS[direction]
    return 0 <= row + down < machine.rows and 0 <= column + across < machine.columns


def _ends(link: int, machine: Machine) -> str:
    first, last = link_ends(link, machine)
    return f"{first}>{last}"


def _label(connection: Connection, wiring: Wiring) -> str:
    sinks = [_terminal(sink, wiring) for sink in connection.sinks]
    more = f" and {len(sinks) - 2} more" if len(sinks) > 2 else ""
    kind = pb.Net.Kind.Name(connection.kind).lower()
    source = _terminal(connection.source, wiring)
    return f"phase {connection.phase} {kind} {source} to {', '.join(sinks[:2])}{more}"


def _terminal(terminal: Terminal, wiring: Wiring) -> str:
    return f"agcu {terminal.index}" if terminal.is_agcu else wiring.units[terminal.index].name
