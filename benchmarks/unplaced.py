"""A mapping that is neither placed nor routed, for the timing simulator: every unit is wired to every other directly.

What is left out is the network: its latency is one switch, and no link is shared. Stages, buffers, streams and all of
their timing are as compiled, so this tells in seconds what a cut and its tiling are worth. Such a PEF does not pass
the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backends.rdu.compile import BackendOptions, advance, emit_program
from backends.rdu.plan import Configured, Plan, Step
from backends.rdu.route.route import Routing
from backends.rdu.wire.netlist import Placement, Unit
from ir.graph import Program
from pef import pef_pb2 as pb
from pef.machine import Machine, SiteKind

OPTIONS = BackendOptions()


def compile_unplaced(program: Program, machine: Machine, options: BackendOptions = OPTIONS) -> pb.Pef:
    """The program up to the allocation, with direct links in the place of routes. Raises as `compile_program` does."""
    plan = Plan.of(program)
    advance(plan, machine, options, Step.ALLOCATE)
    plan.configurations = {key: _anywhere(known, machine) for key, known in plan.configurations.items()}
    pef = emit_program(plan, machine, options)
    for configuration in pef.configurations:
        sites = [unit.site for unit in configuration.units]
        for net in configuration.nets:
            for sink in net.sinks:
                net.route.extend((_switch(net.source, sites, machine), _switch(sink, sites, machine)))
    return pef


def _anywhere(known: Configured, machine: Machine) -> Configured:
    """Every unit on the next site of its kind, and no routes."""
    placement = Placement(_sites(known.wiring.netlist.units, machine))
    return replace(known, placement=placement, routing=Routing(((),) * len(known.wiring.connections), ()))


def _sites(units: Sequence[Unit], machine: Machine) -> tuple[int, ...]:
    free = {kind: iter(machine.working_sites(kind)) for kind in SiteKind}
    return tuple(next(free[unit.kind]) for unit in units)


def _switch(terminal: pb.Terminal, sites: Sequence[int], machine: Machine) -> int:
    """The switch that a terminal is attached to."""
    if terminal.WhichOneof("at") == "agcu":
        return machine.agcu_sites[terminal.agcu]
    return sites[terminal.unit]
