"""Rules about the machine that the PEF records, and about the units that a configuration takes of it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from ir.errors import Problem
from pef import pef_pb2 as pb
from pef.decoded import Configuration, named
from pef.machine import Machine, SiteKind

_COUNTS = (
    "rows",
    "columns",
    "rdu_tile_rows",
    "rdu_tile_columns",
    "pcu_lanes",
    "pcu_stages",
    "fp32_cycles_per_vector",
    "tail_cycles_per_vector",
    "pmu_bytes",
    "pmu_port_bytes_per_cycle",
    "pmu_read_ports",
    "pmu_write_ports",
    "link_bytes_per_cycle",
    "agcu_bytes_per_cycle",
    "memory_burst_bytes",
)
_TIMES = ("program_load_us", "argument_load_us", "launch_us")


def machine_counts(machine: pb.Machine) -> Iterator[Problem]:
    """Everything the machine has, it has at least one of; its clock runs; what takes time takes a finite time."""
    for field in _COUNTS:
        if getattr(machine, field) < 1:
            yield Problem(f"{field} is {getattr(machine, field)}", "machine")
    for field in _TIMES:
        if not 0 <= getattr(machine, field) < math.inf:
            yield Problem(f"{field} is {getattr(machine, field)}", "machine")
    if not 0 < machine.clock_ghz < math.inf:
        yield Problem(f"clock_ghz is {machine.clock_ghz}", "machine")


def machine_memory(machine: pb.Machine) -> Iterator[Problem]:
    """There is off-chip memory, and an AGCU to reach it by."""
    if not machine.tiers:
        yield Problem("the machine has no memory tier", "machine")
    if not machine.agcu_sites:
        yield Problem("the machine has no AGCU", "machine")
    for number, tier in enumerate(machine.tiers):
        if not tier.capacity_bytes or not 0 < tier.bandwidth_bytes_per_s < math.inf:
            yield Problem(
                "the tier has no capacity or no bandwidth", f"machine, {named('memory tier', number, tier.name)}"
            )


def machine_sites(machine: pb.Machine) -> Iterator[Problem]:
    """Faulty sites and the sites of AGCUs are on the grid."""
    for what, listed in (("faulty site", machine.faulty_sites), ("site of an AGCU", machine.agcu_sites)):
        for site in listed:
            if site >= machine.rows * machine.columns:
                yield Problem(f"{what} {site} is not on the {machine.rows}x{machine.columns} grid", "machine")


def agcu_problems(machine: Machine) -> Iterator[Problem]:
    """An excluded RDU tile has no AGCU."""
    for site in machine.agcu_sites:
        if site in machine.closed_switches():
            tile = machine.rdu_tile(site)
            yield Problem(f"an AGCU is attached to site {site} of RDU tile {tile}, which is excluded", "machine")


def one_unit_per_site(configuration: Configuration) -> Iterator[Problem]:
    """No two units stand on one site."""
    first: dict[int, int] = {}
    for unit, site in enumerate(configuration.sites):
        if site in first:
            yield Problem(f"unit {unit} stands on site {site}, where unit {first[site]} is", configuration.where)
        first.setdefault(site, unit)


def no_faulty_site(configuration: Configuration) -> Iterator[Problem]:
    """No unit stands on a faulty site."""
    faulty = set(configuration.machine.faulty_sites)
    for unit, site in enumerate(configuration.sites):
        if site in faulty:
            yield Problem(f"unit {unit} stands on site {site}, which is faulty", configuration.where)


def right_kind(configuration: Configuration) -> Iterator[Problem]:
    """Stages run on PCUs, buffers are held in PMUs."""
    stages = [
        (stage.where, stage.record.units, SiteKind.PCU) for phase in configuration.phases for stage in phase.stages
    ]
    buffers = [(buffer.where, buffer.units, SiteKind.PMU) for buffer in configuration.buffers]
    for where, units, kind in (*stages, *buffers):
        for unit in units:
            site = configuration.sites[unit]
            if configuration.machine.kind(site) is not kind:
                found = configuration.machine.kind(site).name
                yield Problem(f"unit {unit} on site {site} is a {found}, not a {kind.name}", where)


def units_used_once(configuration: Configuration) -> Iterator[Problem]:
    """A PCU belongs to exactly one stage; a PMU to at least one buffer, and to each once."""
    pcus = Counter(unit for phase in configuration.phases for stage in phase.stages for unit in stage.record.units)
    pmus = {unit for buffer in configuration.buffers for unit in buffer.units}
    for unit in range(len(configuration.sites)):
        if unit not in pcus and unit not in pmus:
            yield Problem(f"unit {unit} belongs to no stage and no buffer", configuration.where)
        if pcus[unit] > 1:
            yield Problem(f"PCU unit {unit} is taken {pcus[unit]} times by stages", configuration.where)
    for buffer in configuration.buffers:
        if len(set(buffer.units)) != len(buffer.units):
            yield Problem("the buffer names a PMU twice", buffer.where)


def pmu_capacity(configuration: Configuration) -> Iterator[Problem]:
    """The buffers that live in a PMU in one phase fit it; a buffer lives from the first phase that uses it to the
    last."""
    tenants: dict[int, list[int]] = {}
    for number, buffer in enumerate(configuration.buffers):
        for unit in buffer.units:
            tenants.setdefault(unit, []).append(number)
    for unit, numbers in tenants.items():
        phase, total = _most_held(configuration, numbers)
        if total > configuration.machine.pmu_bytes:
            buffers = [configuration.buffers[number] for number in numbers if _lives(configuration, number, phase)]
            held = ", ".join(buffer.where.rpartition(", ")[2] for buffer in buffers)
            yield Problem(
                f"in phase {phase}, PMU unit {unit} on site {configuration.sites[unit]} holds {total} bytes "
                f"of {held}, more than its {configuration.machine.pmu_bytes}",
                configuration.where,
            )


def _most_held(configuration: Configuration, numbers: Sequence[int]) -> tuple[int, int]:
    """The phase in which so many buffers of one PMU take the most bytes of it, and these."""
    changes: Counter[int] = Counter()
    for number in numbers:
        first, last = configuration.lifetimes[number]
        changes[first] += configuration.buffers[number].bytes_per_unit
        changes[last + 1] -= configuration.buffers[number].bytes_per_unit
    phases = sorted(changes)
    totals = list(itertools.accumulate(changes[phase] for phase in phases))
    most = max(range(len(phases)), key=lambda index: totals[index])
    return phases[most], totals[most]


def _lives(configuration: Configuration, number: int, phase: int) -> bool:
    first, last = configuration.lifetimes[number]
    return first <= phase <= last


MACHINE_RULES = (machine_counts, machine_memory, machine_sites)
UNIT_RULES = (one_unit_per_site, no_faulty_site, right_kind, units_used_once, pmu_capacity)
