"""How far a writer must be ahead of a reader that waits for it by another way too.

A residual connection takes a value past a branch. The reader behind both waits for the branch, the branch for the
writer: by then the writer has made more slices than the one that the reader takes, and the buffer between must hold
them all, or everybody waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from backends.rdu.estimate import made_by
from backends.rdu.nests import NestedStage, Phase, reader_of, writer_of
from ir.graph import Value
from pef.nest import Reader, Writer, needed, sync_level

Events = NDArray[np.int64]


class Waits:
    """The waiting of one phase's stages for one another."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        makers = made_by(phase.stages)
        self.sources: list[list[tuple[int, Events]]] = []
        for position, stage in enumerate(phase.stages):
            events = np.arange(phase.events(stage))
            waiting = []
            for value in stage.stage.reads:
                if value.name in makers and makers[value.name][0] < position:
                    source = makers[value.name][0]
                    writer = writer_of(phase, phase.stages[source], value)
                    waiting.append((source, _needed(writer, reader_of(phase, stage, value), events)))
            self.sources.append(waiting)

    def least_units(self, writer: Writer, reads: Sequence[tuple[int, Value]]) -> int:
        """Units that a buffer must hold so that its readers, stages by position, cannot wait for ever."""
        reached: dict[int, Events] = {}
        first = min(position for position, _ in reads)
        direct = dict(self._direct(writer, reads))
        for position in range(first, max(position for position, _ in reads) + 1):
            found = [direct[position]] if position in direct else []
            found += [reached[source][events] for source, events in self.sources[position] if source in reached]
            if found:
                reached[position] = np.maximum.reduce(found)
        units = writer.nest.events(writer.completion)
        events_of_unit = writer.events // units
        least = 1
        for position, value in reads:
            stage = self.phase.stages[position]
            reader = reader_of(self.phase, stage, value)
            level = sync_level(writer, reader)
            block = np.arange(reader.events) // (reader.events // writer.nest.events(level))
            oldest = block * (units // writer.nest.events(level))
            least = max(least, int((reached[position] // events_of_unit - oldest).max()) + 1)
        return least

    def _direct(self, writer: Writer, reads: Sequence[tuple[int, Value]]) -> list[tuple[int, Events]]:
        found: dict[int, Events] = {}
        for position, value in reads:
            stage = self.phase.stages[position]
            events = _needed(writer, reader_of(self.phase, stage, value), np.arange(self.phase.events(stage)))
            found[position] = np.maximum(found[position], events) if position in found else events
        return list(found.items())


def _needed(writer: Writer, reader: Reader, events: Events) -> Events:
    return needed(writer, reader, events)  # type: ignore[arg-type,return-value]


def readers_of(phase: Phase, name: str, accept: Callable[[NestedStage, Value], bool]) -> list[tuple[int, Value]]:
    """The stages that read a value, by position."""
    return [
        (position, value)
        for position, stage in enumerate(phase.stages)
        for value in stage.stage.reads
        if value.name == name and accept(stage, value)
    ]
