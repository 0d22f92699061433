"""Simulated time of a partition, neither placed nor routed."""

from __future__ import annotations

from collections.abc import Sequence

from backends.rdu.allocate.plan import plan_section
from backends.rdu.compile import unplaced
from backends.rdu.cut.sections import Partition, materialise
from backends.rdu.cut.signature import signature
from ir.graph import Symbol
from pef.decoded import Configuration
from pef.exchange import ONE
from pef.machine import Machine
from runtime.timing.simulate import execute


def simulated_cycles(partition: Partition, symbols: Sequence[Symbol], machine: Machine) -> float:
    """Cycles of all sections and their loads, with all symbols in the fastest memory. Raises DoesNotFitError."""
    cut = materialise(partition)
    known = {symbol.name: symbol for symbol in (*symbols, *cut.symbols)}
    total, last = 0.0, None
    for section in cut.sections:
        key = signature(section, known)
        configuration = Configuration.of(
            unplaced(plan_section(section, machine), key, known, machine), machine, "simulated"
        )
        slots = range(len(key.symbols))
        total += execute(configuration, [0 for _ in slots], slots, "section", ONE).cycles
        program_load_us = 0.0 if key == last else machine.program_load_us
        total += machine.cycles(program_load_us + machine.argument_load_us + machine.launch_us)
        last = key
    return total
