"""What sections do with symbols: which of them their streams load and store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pef import pef_pb2 as pb
from pef.decoded import Configuration, named
from pef.nest import Slicing


@dataclass(frozen=True, slots=True)
class Use:
    """One stream's use of a symbol by a section; `slicing` is the symbol's, or of what an index picks of it."""

    where: str
    section: int
    phase: int
    stream: int
    symbol: int
    slicing: Slicing
    indexed: bool = False


def section_uses(pef: pb.Pef, configurations: Mapping[int, Configuration], number: int) -> tuple[list[Use], list[Use]]:
    """The loads and the stores of a section, phase by phase; none where its configuration or bindings are broken."""
    section = pef.sections[number]
    configuration = configurations.get(section.configuration)
    uses: tuple[list[Use], list[Use]] = [], []
    if configuration is None or len(section.bindings) != len(configuration.slots):
        return uses
    for phase_number, phase in enumerate(configuration.phases):
        for stream_number, stream in enumerate(phase.streams):
            where = f"{named('section', number, section.name)}, {stream.where.partition(', ')[2]}"
            symbol = section.bindings[stream.slot]
            indexed = stream.pick is not None
            use = Use(where, number, phase_number, stream_number, symbol, stream.symbol_slicing, indexed)
            uses[stream.store].append(use)
    return uses
