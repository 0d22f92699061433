"""What a PEF takes of an RDU: tiles, where else it would fit, and the time its sections keep them busy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.machine import Machine
from runtime import timing


def tiles_used(pef: pb.Pef, machine: Machine) -> frozenset[int]:
    """The RDU tiles with a unit, an AGCU or a switch that any section uses."""
    tiles = frozenset().union(*(_worked(configuration, machine) for configuration in pef.configurations))
    return tiles | {machine.rdu_tile(site) for c in pef.configurations for net in c.nets for site in net.route}


def placements(pef: pb.Pef) -> list[frozenset[int]]:
    """The tiles that a PEF uses, then those it would use some rows of tiles further up or down.

    Units, switches and AGCUs repeat with every row of tiles, so a PEF moved by whole rows takes the same time. One that
    was mapped around single units or AGCUs stays: they are where they are.
    """
    machine = decode_machine(pef.machine)
    used = tiles_used(pef, machine)
    if machine.rdu_tile_rows % 2 or _is_around_single_units(pef, machine):
        return [used]
    across = machine.columns // machine.rdu_tile_columns
    down = machine.rdu_tiles // across
    moved = [frozenset(tile + rows * across for tile in used) for rows in range(1 - down, down)]
    return [used, *(tiles for tiles in moved if tiles != used and min(tiles) >= 0 and max(tiles) < machine.rdu_tiles)]


def _is_around_single_units(pef: pb.Pef, machine: Machine) -> bool:
    """Whether the compile avoided units, which the machine shows, or AGCUs, which only the compile's options tell."""
    avoided = ",".join(json.loads(pef.header.options_json or "{}").get("avoid", ()))
    return "agcu:" in avoided or not set(machine.faulty_sites) <= machine.closed_switches()


@dataclass(frozen=True, slots=True)
class SectionTime:
    """Simulated time of a section, in microseconds, and the tiles that it keeps busy."""

    tiles: frozenset[int]
    exec_us: float
    pload_us: float
    aload_us: float
    launch_us: float

    @property
    def total_us(self) -> float:
        """From launch to end; a launch finds the tiles idle."""
        return self.exec_us + self.pload_us + self.aload_us + self.launch_us


def section_times(pef: pb.Pef, sections: Sequence[int]) -> Iterator[SectionTime]:
    """What the timing simulator says of these sections, run in this order."""
    report = timing.simulate(pef, sections)
    machine = decode_machine(pef.machine)
    for section in report.sections:
        yield SectionTime(
            _worked(pef.configurations[section.configuration], machine),
            report.us(section.execution.cycles),
            report.us(section.program_load_cycles),
            report.us(section.argument_load_cycles),
            report.us(section.launch_cycles),
        )


def _worked(configuration: pb.Configuration, machine: Machine) -> frozenset[int]:
    """The tiles with a unit or an AGCU at work."""
    streams = (stream for phase in configuration.phases for stream in phase.streams)
    sites = {unit.site for unit in configuration.units}
    sites |= {machine.agcu_sites[agcu] for stream in streams for agcu in stream.agcus}
    return frozenset(machine.rdu_tile(site) for site in sites)
