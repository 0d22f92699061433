"""How large a PEF may be, checked before any other work: a small file must not keep the toolchain busy for hours.

The bounds are far beyond every machine and model there is. They are about what would otherwise be counted, listed or
simulated one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

from ir.errors import Problem
from pef import pef_pb2 as pb
from pef.decoded import named

MOST_SITES = 1 << 18
"""A grid of 512 by 512; an SN40L has 46 by 46 or so."""
MOST_SYMBOLS = 1 << 20
MOST_SECTIONS = 100_000
MOST_NETS = 1 << 20
LEAST_BUFFERS = 1 << 12
"""So many are allowed on the smallest machine: several may share a PMU."""
MOST_FIRINGS = 1 << 27
"""Of stages and streams in one step of all sections: what the timing simulation goes through one by one."""
LONGEST_NAME = 1024
LONGEST_PATH = 4096
LONGEST_JSON = 1 << 24
SHORTEST_US, LONGEST_US = 0.0, 1e9
"""A quarter of an hour per load."""
SLOWEST_CLOCK_GHZ, FASTEST_CLOCK_GHZ = 1e-6, 1e3
LEAST_BYTES_PER_S, MOST_BYTES_PER_S = 1e3, 1e18


def limit_problems(pef: pb.Pef) -> Iterator[Problem]:
    """Everything about a PEF that is too large, too small or too long to work with."""
    yield from _machine_problems(pef.machine)
    yield from _too_many(pef.symbols, MOST_SYMBOLS, "symbols", "the PEF")
    yield from _too_many(pef.sections, MOST_SECTIONS, "sections", "the PEF")
    yield from _too_many(pef.configurations, MOST_SECTIONS, "configurations", "the PEF")
    sites = pef.machine.rows * pef.machine.columns
    for number, configuration in enumerate(pef.configurations):
        where = named("configuration", number)
        stages = sum(len(phase.stages) for phase in configuration.phases)
        yield from _too_many(configuration.units, sites, "units", where, "sites")
        yield from _more_than(stages, sites, "stages", where, "sites")
        yield from _too_many(configuration.buffers, max(LEAST_BUFFERS, 4 * sites), "buffers", where)
        yield from _too_many(configuration.nets, MOST_NETS, "nets", where)
    yield from _firing_problems(pef)
    yield from _name_problems(pef)


def _machine_problems(machine: pb.Machine) -> Iterator[Problem]:
    sites = machine.rows * machine.columns
    if sites > MOST_SITES:
        yield Problem(f"a grid of {machine.rows}x{machine.columns} has more than {MOST_SITES} sites", "machine")
    yield from _too_many(machine.faulty_sites, sites, "faulty sites", "machine", "sites")
    yield from _too_many(machine.agcu_sites, sites, "AGCUs", "machine", "sites")
    yield from _outside("clock_ghz", machine.clock_ghz, SLOWEST_CLOCK_GHZ, FASTEST_CLOCK_GHZ, "machine")
    for field in ("program_load_us", "argument_load_us", "launch_us", "ring_step_us"):
        yield from _outside(field, getattr(machine, field), SHORTEST_US, LONGEST_US, "machine")
    for number, tier in enumerate(machine.tiers):
        where = f"machine, {named('memory tier', number, tier.name)}"
        bandwidth = tier.bandwidth_bytes_per_s
        yield from _outside("bandwidth_bytes_per_s", bandwidth, LEAST_BYTES_PER_S, MOST_BYTES_PER_S, where)
    for field in ("ring_bytes_per_s", "host_bytes_per_s"):
        if getattr(machine, field):  # a machine that is not for several replicas has none
            yield from _outside(field, getattr(machine, field), LEAST_BYTES_PER_S, MOST_BYTES_PER_S, "machine")


def _firing_problems(pef: pb.Pef) -> Iterator[Problem]:
    firings = [
        sum(phase.tiles * (len(phase.stages) + len(phase.streams)) for phase in configuration.phases)
        for configuration in pef.configurations
    ]
    total = sum(firings[s.configuration] for s in pef.sections if s.configuration < len(firings))
    yield from _more_than(max([total, *firings]), MOST_FIRINGS, "firings of stages and streams", "the PEF")


def _name_problems(pef: pb.Pef) -> Iterator[Problem]:
    """Names can be shown, and are not longer than anybody reads."""
    header, machine = pef.header, pef.machine
    for name in (header.name, header.toolchain_version, machine.name, *(tier.name for tier in machine.tiers)):
        yield from _unreadable(name, LONGEST_NAME, "header")
    for field in ("options_json", "metadata_json"):
        if len(getattr(header, field)) > LONGEST_JSON:
            yield Problem(f"{field} has more than {LONGEST_JSON} characters", "header")
    for number, text in enumerate(pef.strings):
        yield from _unreadable(text, LONGEST_PATH, named("string", number))
    for number, symbol in enumerate(pef.symbols):
        yield from _unreadable(symbol.name, LONGEST_NAME, named("symbol", number))
    for number, section in enumerate(pef.sections):
        for text in (section.name, section.rule, section.prediction.bound):
            yield from _unreadable(text, LONGEST_NAME, named("section", number))
    for number, configuration in enumerate(pef.configurations):
        stages = [stage for phase in configuration.phases for stage in phase.stages]
        for name in (*(buffer.name for buffer in configuration.buffers), *(stage.name for stage in stages)):
            yield from _unreadable(name, LONGEST_NAME, named("configuration", number))


def _unreadable(text: str, longest: int, where: str) -> Iterator[Problem]:
    if len(text) > longest:
        yield Problem(f"a name of {len(text)} characters is longer than {longest}", where)
    elif not text.isprintable():
        yield Problem(f"the name {text[:80]!r} has characters that cannot be shown", where)


def _too_many(things: Sized, most: int, what: str, where: str, of: str = "") -> Iterator[Problem]:
    yield from _more_than(len(things), most, what, where, of)


def _more_than(count: int, most: int, what: str, where: str, of: str = "") -> Iterator[Problem]:
    if count > most:
        yield Problem(f"{count:,} {what} are more than {f'the {most:,} {of}' if of else f'{most:,}'}", where)


def _outside(field: str, value: float, low: float, high: float, where: str) -> Iterator[Problem]:
    """A quantity that the rules of the machine refuse too, but that must not be computed with before."""
    if not (math.isfinite(value) and low <= value <= high):
        yield Problem(f"{field} is {value:g}, not between {low:g} and {high:g}", where)
