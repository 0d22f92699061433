"""What is placed and routed: units, the nets between them, and how good a placement or a routing is."""

from __future__ import annotations

from dataclasses import dataclass

from pef.machine import Machine, SiteKind


@dataclass(frozen=True, slots=True)
class Unit:
    """A PCU or PMU that a stage or a buffer (its `group`) needs; placement finds its site."""

    name: str
    kind: SiteKind
    group: int


@dataclass(frozen=True, slots=True)
class Terminal:
    """An end of a net: a unit, by its index in the netlist, or an AGCU, by its number in the machine."""

    index: int
    is_agcu: bool = False


@dataclass(frozen=True, slots=True)
class Net:
    """Data flowing from one terminal to all `sinks` during one phase, at `bytes_per_cycle` in steady state.

    `pace` is the part of the phase's interval in which the net's stage could take in or give out a tile: a link that
    is busy for longer than that slows the stage, if not the phase.
    """

    source: Terminal
    sinks: tuple[Terminal, ...]
    phase: int
    bytes_per_cycle: float
    pace: float = 1.0

    @property
    def terminals(self) -> tuple[Terminal, ...]:
        """The source, then the sinks."""
        return (self.source, *self.sinks)


@dataclass(frozen=True, slots=True)
class Netlist:
    """The units of one section and the nets between them."""

    units: tuple[Unit, ...]
    nets: tuple[Net, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """The site of every unit, by the unit's index."""

    sites: tuple[int, ...]

    def site(self, terminal: Terminal, machine: Machine) -> int:
        """The site whose switch a terminal is attached to."""
        return machine.agcu_sites[terminal.index] if terminal.is_agcu else self.sites[terminal.index]


def wire_length(netlist: Netlist, placement: Placement, machine: Machine) -> float:
    """Half the perimeter of each net's bounding box times its demand, summed: byte-hops per cycle.

    A lower bound on what routing uses, and exact for nets of up to three terminals.
    """
    return sum(net.bytes_per_cycle * _half_perimeter(net, placement, machine) for net in netlist.nets)


def _half_perimeter(net: Net, placement: Placement, machine: Machine) -> int:
    """Half the perimeter of the bounding box of a net, in hops."""
    rows, columns = zip(*(divmod(placement.site(end, machine), machine.columns) for end in net.terminals))
    return int(max(rows) - min(rows) + max(columns) - min(columns))
