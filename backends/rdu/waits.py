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

    def least_units(self, writer: Writer, reads: Sequence[tuple[int, Value]], origin: int | None = None) -> int:
        """Units that a buffer must hold so that its readers, stages by position, cannot wait for ever.

        `origin` is the stage that writes it, None for a load.
        """
        reached: dict[int, Events] = {}
        for position in range(len(self.sources)):
            found = [events for source, events in self.sources[position] if source == origin]
            found += [reached[source][events] for source, events in self.sources[position] if source in reached]
            found += [self._needed(writer, at, value) for at, value in reads if at == position and origin is None]
            if found:
                reached[position] = np.maximum.reduce(found)
        units = writer.nest.events(writer.completion)
        events_of_unit = writer.events // units
        least = 1
        for position, value in reads:
            reader = reader_of(self.phase, self.phase.stages[position], value)
            blocks = writer.nest.events(sync_level(writer, reader))
            oldest = np.arange(reader.events) // (reader.events // blocks) * (units // blocks)
            least = max(least, int((reached[position] // events_of_unit - oldest).max()) + 1)
        return least

    def _needed(self, writer: Writer, position: int, value: Value) -> Events:
        """The last event of a load that each firing of a stage waits for on account of one value."""
        stage = self.phase.stages[position]
        return _needed(writer, reader_of(self.phase, stage, value), np.arange(self.phase.events(stage)))


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
