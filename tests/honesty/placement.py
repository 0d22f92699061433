"""Placing and routing a compiled configuration anew: the netlist is rebuilt from the PEF alone."""

from __future__ import annotations

import math

from backends.rdu.route.route import link_ends, route
from backends.rdu.wire.netlist import Net, Netlist, Placement, Terminal, Unit
from pef import pef_pb2 as pb
from pef.codec import decode_machine
from pef.machine import Machine
from runtime.timing import PhaseReport, simulate


def netlist_of(pef: pb.Pef, number: int) -> Netlist:
    """The units and nets of a configuration, with the demand of every net at the pace its phase is simulated at."""
    machine, configuration = decode_machine(pef.machine), pef.configurations[number]
    section = next(i for i, section in enumerate(pef.sections) if section.configuration == number)
    phases = simulate(pef, [section]).sections[0].execution.phases
    groups = {
        unit: (p + 1) * 1000 + s
        for p, phase in enumerate(configuration.phases)
        for s, stage in enumerate(phase.stages)
        for unit in stage.units
    }
    units = tuple(
        Unit(f"unit {i}", machine.kind(unit.site), groups.get(i, 0)) for i, unit in enumerate(configuration.units)
    )
    nets = tuple(_net(configuration, net, phases[net.phase], machine) for net in configuration.nets)
    return Netlist(units, nets)


def _net(configuration: pb.Configuration, net: pb.Net, report: PhaseReport, machine: Machine) -> Net:
    """Whole transfers negotiate apart from the tiles of their phase, as they happen before or after them."""
    memory_rate = machine.tier_bytes_per_cycle(0)
    streamed = sum(stream.transfer_bytes for stream in report.streams if not stream.whole)
    interval = max(*(stage.interval_cycles for stage in report.stages), math.ceil(streamed / memory_rate))
    phase, rate = net.phase, net.bytes / interval
    if net.WhichOneof("owner") == "stage":
        stage = report.stages[net.stage]
        pace = max(stage.compute_cycles, stage.port_cycles) / interval
    elif report.streams[net.stream].whole:
        pace = 1.0
        phase += len(configuration.phases) * (1 if net.kind == pb.Net.LOAD else 2)
        rate = min(rate, machine.agcu_bytes_per_cycle)
    else:
        pace = report.streams[net.stream].transfer_bytes / memory_rate / interval
    return Net(_terminal(net.source), tuple(map(_terminal, net.sinks)), phase, rate, min(1.0, pace))


def _terminal(end: pb.Terminal) -> Terminal:
    return Terminal(end.agcu, is_agcu=True) if end.WhichOneof("at") == "agcu" else Terminal(end.unit)


def rerouted(pef: pb.Pef, number: int, sites: tuple[int, ...]) -> pb.Pef:
    """The PEF with the units of a configuration on `sites`, and all its nets routed accordingly."""
    machine = decode_machine(pef.machine)
    routing = route(netlist_of(pef, number), Placement(sites), machine)
    moved = pb.Pef.FromString(pef.SerializeToString())
    configuration = moved.configurations[number]
    for unit, site in zip(configuration.units, sites):
        unit.site = site
    for net, links in zip(configuration.nets, routing.routes):
        del net.route[:]
        for link in links:
            net.route.extend(link_ends(link, machine))
    return moved


def sites_of(pef: pb.Pef, number: int) -> tuple[int, ...]:
    """Where the units of a configuration stand."""
    return tuple(unit.site for unit in pef.configurations[number].units)


def far_corner(pef: pb.Pef, number: int, unit: int) -> int:
    """The free site of the unit's kind that is farthest from where it stands."""
    machine, sites = decode_machine(pef.machine), sites_of(pef, number)
    free = set(machine.working_sites(machine.kind(sites[unit]))) - set(sites)
    row, column = divmod(sites[unit], machine.columns)
    return max(free, key=lambda site: abs(site // machine.columns - row) + abs(site % machine.columns - column))


def cycles(pef: pb.Pef, number: int) -> float:
    """Simulated cycles of executing a configuration."""
    section = next(i for i, section in enumerate(pef.sections) if section.configuration == number)
    return simulate(pef, [section]).sections[0].execution.cycles
